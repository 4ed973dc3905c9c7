package anneal.peft;

import anneal.tensor.Rng;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Weighted sums of what several adapters learnt, and what is done before so that they disturb one another less. All on flat arrays of
 * equal length, one for each adapter.
 */
final class TaskArithmetic {
    private TaskArithmetic() {}

    /** sum_i w_i x_i. Task arithmetic: Ilharco et al., arXiv:2212.04089. */
    static float[] sum(List<float[]> x, double[] weights) {
        float[] y = new float[x.getFirst().length];
        for (int i = 0; i < y.length; i++) {
            double sum = 0;
            for (int k = 0; k < weights.length; k++) {
                sum += weights[k] * x.get(k)[i];
            }
            y[i] = (float) sum;
        }
        return y;
    }

    /** The {@code (int) (density n)} numbers of the largest magnitude, zero elsewhere; of equal ones the first. */
    static float[] trim(float[] x, double density) {
        float[] y = new float[x.length];
        IntStream.range(0, x.length)
                .boxed()
                .sorted(Comparator.comparingDouble(i -> -Math.abs(x[i])))
                .limit((long) (density * x.length))
                .forEach(i -> y[i] = x[i]);
        return y;
    }

    /** Each number kept with probability {@code density} and divided by it, zero otherwise. DARE: Yu et al., arXiv:2311.03099. */
    static float[] drop(float[] x, double density, Rng rng) {
        float[] y = new float[x.length];
        for (int i = 0; i < y.length; i++) {
            y[i] = rng.nextDouble() < density ? (float) (x[i] / density) : 0;
        }
        return y;
    }

    /**
     * The sum over those that have the elected sign, divided by how many those are. The sign is that of the unweighted sum, or of the
     * majority; zero counts as plus. TIES: Yadav et al., arXiv:2306.01708.
     */
    static float[] elect(List<float[]> x, double[] weights, Combination.Majority majority) {
        float[] y = new float[x.getFirst().length];
        for (int i = 0; i < y.length; i++) {
            float votes = 0;
            for (float[] one : x) {
                votes += majority == Combination.Majority.TOTAL ? one[i] : Math.signum(one[i]);
            }
            float sign = votes >= 0 ? 1 : -1;
            double sum = 0;
            int agreeing = 0;
            for (int k = 0; k < weights.length; k++) {
                if (Math.signum(x.get(k)[i]) == sign) {
                    sum += weights[k] * x.get(k)[i];
                    agreeing++;
                }
            }
            y[i] = (float) (sum / Math.max(1, agreeing));
        }
        return y;
    }
}
