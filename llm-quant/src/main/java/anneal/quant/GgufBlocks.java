package anneal.quant;

import anneal.kernels.BlockFormat;
import anneal.kernels.BlockMatrix;
import anneal.kernels.Matrix;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Locale;
import java.util.Optional;

/**
 * GGUF's blocks, 4 to 8 bits: what llama.cpp reads. The plain formats (Q4_0 to Q8_0) have the bytes that the gguf package writes; the K
 * formats search their scales as llama.cpp does, see {@link KBlocks}.
 *
 * @param format Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K or Q6_K
 */
public record GgufBlocks(BlockFormat format) implements QuantFormat {
    public static final GgufBlocks Q4_0 = new GgufBlocks(BlockFormat.Q4_0), Q4_1 = new GgufBlocks(BlockFormat.Q4_1);
    public static final GgufBlocks Q5_0 = new GgufBlocks(BlockFormat.Q5_0), Q5_1 = new GgufBlocks(BlockFormat.Q5_1);
    public static final GgufBlocks Q8_0 = new GgufBlocks(BlockFormat.Q8_0);
    public static final GgufBlocks Q4_K = new GgufBlocks(BlockFormat.Q4_K), Q5_K = new GgufBlocks(BlockFormat.Q5_K);
    public static final GgufBlocks Q6_K = new GgufBlocks(BlockFormat.Q6_K);

    /** Rejects the formats of 2 and 3 bits, which are only read. */
    public GgufBlocks {
        if (format == BlockFormat.Q2_K || format == BlockFormat.Q3_K) {
            throw new IllegalArgumentException("GgufBlocks: " + format + " is read, but nothing is quantised into it");
        }
    }

    /** The format of a name in lower case, "q4_k"; empty if it is none of these. */
    static Optional<GgufBlocks> of(String name) {
        return Arrays.stream(BlockFormat.values())
                .filter(f -> f.name().toLowerCase(Locale.ROOT).equals(name))
                .findFirst()
                .map(GgufBlocks::new);
    }

    @Override
    public String name() {
        return format.name();
    }

    @Override
    public void requireFits(int cols) {
        if (cols % format.size() != 0) {
            throw new IllegalArgumentException("rows of " + cols + " numbers are no whole blocks of " + format.size()
                    + ", which " + format + " wants");
        }
    }

    @Override
    public QuantizedWeight quantize(Matrix w, Arena arena) {
        requireFits(w.cols());
        long blocks = (long) w.rows() * w.cols() / format.size();
        MemorySegment data = arena.allocate(Math.max(1, blocks * format.bytes()), 64);
        FlatFloats.forEach(w, format.size(), (x, at, first, count) -> {
            KBlocks k = new KBlocks();
            for (int i = 0; i < count; i += format.size()) {
                long to = (first + i) / format.size() * format.bytes();
                switch (format) {
                    case Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 -> PlainBlocks.write(format, x, at + i, data, to);
                    case Q4_K, Q5_K, Q6_K -> k.write(format, x, at + i, data, to);
                    case Q2_K, Q3_K -> throw new AssertionError(format + " is refused by the constructor");
                }
            }
        });
        return new PackedWeight(this, new BlockMatrix(data, w.rows(), w.cols(), format));
    }
}
