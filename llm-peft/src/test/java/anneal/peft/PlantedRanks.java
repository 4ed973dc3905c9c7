package anneal.peft;

import anneal.nn.DenseWeight;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import anneal.train.Loss;
import java.lang.foreign.Arena;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.IntFunction;
import java.util.stream.LongStream;

/**
 * Layers of random weights, and for each the same layer moved by a matrix of a rank of its own with singular values of 1: what
 * adapters have to learn, knowing nothing of the ranks.
 */
final class PlantedRanks extends Module {
    static final int D = 16;
    private static final int ROWS = 32;

    private final Map<Linear, Tensor> wanted = new LinkedHashMap<>();

    PlantedRanks(Arena arena, Map<String, Integer> ranks, long seed) {
        Rng rng = new Rng(seed);
        ranks.forEach((name, rank) -> {
            float[] w = new float[D * D], moved = new float[D * D];
            double[][] left = orthonormal(rng, rank), right = orthonormal(rng, rank);
            for (int i = 0; i < w.length; i++) {
                w[i] = (float) (0.2 * rng.nextGaussian());
                moved[i] = w[i];
                for (int k = 0; k < rank; k++) {
                    moved[i] += (float) (left[k][i / D] * right[k][i % D]);
                }
            }
            wanted.put(child(name, new Linear(new DenseWeight(matrix(arena, w)), null)), matrix(arena, moved));
        });
    }

    private static Tensor matrix(Arena arena, float[] values) {
        Tensor t = Tensor.allocate(arena, Shape.of(D, D));
        t.set(values);
        return t;
    }

    /** So many random vectors, each freed of those before it. */
    private static double[][] orthonormal(Rng rng, int count) {
        double[][] q = new double[count][D];
        for (int i = 0; i < count; i++) {
            for (int k = 0; k < D; k++) {
                q[i][k] = rng.nextGaussian();
            }
            for (int j = 0; j < i; j++) {
                double dot = 0;
                for (int k = 0; k < D; k++) {
                    dot += q[i][k] * q[j][k];
                }
                for (int k = 0; k < D; k++) {
                    q[i][k] -= dot * q[j][k];
                }
            }
            double squares = 0;
            for (double x : q[i]) {
                squares += x * x;
            }
            for (int k = 0; k < D; k++) {
                q[i][k] /= Math.sqrt(squares);
            }
        }
        return q;
    }

    /** Seeds of endless inputs. */
    static IntFunction<Iterator<Long>> data() {
        return epoch -> LongStream.range(0, 1_000_000).iterator();
    }

    /** Squared distance from what the moved layers give, summed over layers and rows. */
    Loss loss(long seed) {
        Rng rng = new Rng(seed);
        float[] values = new float[ROWS * D];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) rng.nextGaussian();
        }
        Tensor x = Tensor.of(values, ROWS, D), sum = null;
        for (Map.Entry<Linear, Tensor> e : wanted.entrySet()) {
            Tensor miss = Ops.sub(e.getKey().forward(x), Ops.matmulT(x, e.getValue()));
            Tensor squares = Ops.sum(Ops.mul(miss, miss));
            sum = sum == null ? squares : Ops.add(sum, squares);
        }
        return new Loss(sum, ROWS);
    }
}
