package anneal.quant;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.Golden;
import anneal.io.Safetensors;
import anneal.kernels.F32Matrix;
import anneal.nn.Linear;
import anneal.nn.StoredWeight;
import anneal.tensor.DType;
import anneal.tensor.Memory;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** Masks of magnitude and Wanda: "magnitude50" is half of the matrix, "wanda50" half of each row, "_2of4" two of four. */
class PruningGoldenTest {
    private static final Pattern NAME = Pattern.compile("(magnitude|wanda)(?:(\\d+)|_(\\d+)of(\\d+))");

    @Test
    void masksAreTheRecordedOnes() {
        int cases = 0;
        double worst = 0;
        for (Path file : Golden.files("quant", "pruning.*\\.safetensors")) {
            try (Arena arena = Arena.ofShared();
                    Memory.Scope scope = Memory.scope()) {
                Safetensors t = Safetensors.open(file, arena);
                long[] shape = t.get("w").shape();
                int rows = (int) shape[0], cols = (int) shape[1];
                F32Matrix w = new F32Matrix(t.get("w").data(), rows, cols);
                Linear linear = new Linear(new StoredWeight(w, DType.F32), null);
                float[] x = t.get("x").floats();
                Map<String, float[]> norms =
                        InputNorms.capture(linear, () -> linear.forward(Tensor.of(x, x.length / cols, cols)));
                float[] wanda = Pruning.scores(w, norms.get(""), "w"),
                        expected = t.get("wanda_scores").floats();
                for (int i = 0; i < wanda.length; i++) {
                    worst = Math.max(worst, Math.abs(wanda[i] / expected[i] - 1));
                }
                assertThat(worst).as("relative difference of scores").isLessThan(3e-6);
                for (String name : t.tensors().keySet()) {
                    Matcher m = NAME.matcher(name);
                    if (m.matches()) {
                        float[] scores = m.group(1).equals("wanda") ? wanda : Pruning.scores(w, null, "w");
                        same(mask(m, scores, cols), t.get(name).ints(), cols, file + " " + name);
                        cases++;
                    }
                }
            }
        }
        Golden.report("quant/pruning", cases, worst);
    }

    private static Mask mask(Matcher m, float[] scores, int cols) {
        if (m.group(2) == null) {
            return Mask.nOfM(scores, cols, Integer.parseInt(m.group(3)), Integer.parseInt(m.group(4)));
        }
        double sparsity = Integer.parseInt(m.group(2)) / 100.0;
        return m.group(1).equals("wanda")
                ? Mask.byRow(scores, cols, sparsity)
                : Mask.above(scores, cols, Mask.threshold(scores, sparsity));
    }

    private static void same(Mask mask, int[] expected, int cols, String what) {
        for (int i = 0; i < expected.length; i++) {
            assertThat(mask.kept(i / cols, i % cols)).as("%s [%d]", what, i).isEqualTo(expected[i] == 1);
        }
    }
}
