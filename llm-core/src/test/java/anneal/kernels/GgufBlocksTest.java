package anneal.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.Golden;
import anneal.io.Safetensors;
import anneal.io.StoredTensor;
import anneal.tensor.DType;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

/** Every GGUF format against the values that the gguf package makes of the same bytes: equal to the bit. */
class GgufBlocksTest {
    /** Formats that the fixtures hold and {@link DType} does not name. */
    private static final Set<String> UNREAD = Set.of("IQ4_NL", "IQ4_XS");

    @Test
    void widensLikeTheReference() {
        Path file = Golden.root().resolve("quant/gguf-blocks.safetensors");
        Assumptions.assumeTrue(Files.exists(file), "no quant/gguf-blocks.safetensors in the golden folder");
        int cases = 0;
        try (Arena arena = Arena.ofShared()) {
            Map<String, StoredTensor> tensors = Safetensors.open(file, arena).tensors();
            for (String name : tensors.keySet()) {
                String format = name.replace(".bytes", "");
                if (name.equals(format) || UNREAD.contains(format)) {
                    continue;
                }
                check(
                        DType.valueOf(format),
                        tensors.get(name),
                        tensors.get(format + ".floats").floats());
                cases++;
            }
        }
        Golden.report("quant/gguf-blocks", cases, 0);
    }

    private static void check(DType type, StoredTensor bytes, float[] expected) {
        int rows = expected.length / type.blockSize() % 6 == 0 ? 6 : 1, cols = expected.length / rows;
        Matrix matrix = type.matrix(bytes.data(), rows, cols);
        float[] plain = new float[expected.length], vector = new float[expected.length + 2];
        for (int r = 0; r < rows; r++) {
            matrix.widen(r, 0, cols, plain, r * cols);
            VectorWiden.row(matrix, r, 0, cols, vector, 1 + r * cols);
        }
        assertThat(plain).as(type.name()).containsExactly(expected);
        assertThat(Arrays.copyOfRange(vector, 1, 1 + expected.length))
                .as("vector " + type)
                .containsExactly(expected);
        float[] last = new float[type.blockSize()];
        matrix.widen(rows - 1, cols - type.blockSize(), type.blockSize(), last, 0);
        assertThat(last)
                .as("last block of " + type)
                .containsExactly(Arrays.copyOfRange(expected, expected.length - type.blockSize(), expected.length));
    }
}
