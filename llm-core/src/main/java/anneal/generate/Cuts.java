package anneal.generate;

import anneal.tensor.Rng;
import java.util.Arrays;
import java.util.Comparator;
import java.util.stream.IntStream;

/** Cutting a distribution's tail, and drawing from what is left. A score of -infinity is out; at least one token stays. */
final class Cuts {
    private static final float OUT = Float.NEGATIVE_INFINITY;

    private Cuts() {}

    static void temperature(float[] x, float t) {
        for (int i = 0; i < x.length; i++) {
            x[i] /= t;
        }
    }

    /** Keeps what is at least as likely as the k-th likeliest. */
    static void topK(float[] x, int k) {
        if (k < x.length) {
            float[] sorted = x.clone();
            Arrays.sort(sorted);
            float least = sorted[x.length - k];
            keep(x, i -> x[i] >= least);
        }
    }

    /** Takes away the least likely tokens as long as their mass stays within 1 - p. */
    static void topP(float[] x, double p) {
        double[] probability = softmax(x);
        Integer[] ascending = order(x, Comparator.comparingDouble(i -> x[i]));
        double mass = 0;
        for (int i = 0; i < ascending.length - 1; i++) {
            mass += probability[ascending[i]];
            if (mass > 1 - p) {
                return;
            }
            x[ascending[i]] = OUT;
        }
    }

    static void minP(float[] x, double share) {
        double[] p = softmax(x);
        double least = share * Arrays.stream(p).max().orElse(0);
        keep(x, i -> p[i] >= least);
    }

    /** Takes tokens in the order of |surprise - entropy| until their mass reaches that wanted. */
    static void typical(float[] x, double mass) {
        double[] p = softmax(x);
        double entropy = entropy(p);
        Integer[] nearest = order(x, Comparator.comparingDouble(i -> Math.abs(-Math.log(p[i]) - entropy)));
        double sum = 0;
        int last = 0;
        for (int i = 0; i < nearest.length - 1 && sum + p[nearest[i]] < mass; i++) {
            sum += p[nearest[i]];
            last = i + 1;
        }
        double most = Math.abs(-Math.log(p[nearest[last]]) - entropy);
        keep(x, i -> Math.abs(-Math.log(p[i]) - entropy) <= most);
    }

    static void atLeast(float[] x, double epsilon) {
        double[] p = softmax(x);
        float top = max(x);
        keep(x, i -> p[i] >= epsilon || x[i] >= top);
    }

    static void eta(float[] x, double epsilon) {
        double least = Math.min(epsilon, Math.sqrt(epsilon) * Math.exp(-entropy(softmax(x))));
        atLeast(x, least);
    }

    private static double entropy(double[] p) {
        double sum = 0;
        for (double q : p) {
            sum -= q > 0 ? q * Math.log(q) : 0;
        }
        return sum;
    }

    private static void keep(float[] x, java.util.function.IntPredicate stays) {
        boolean[] keep = new boolean[x.length];
        for (int i = 0; i < x.length; i++) {
            keep[i] = stays.test(i);
        }
        for (int i = 0; i < x.length; i++) {
            if (!keep[i]) {
                x[i] = OUT;
            }
        }
    }

    /** Indices of what is not out yet, sorted. */
    private static Integer[] order(float[] x, Comparator<Integer> by) {
        return IntStream.range(0, x.length)
                .filter(i -> x[i] != OUT)
                .boxed()
                .sorted(by)
                .toArray(Integer[]::new);
    }

    static float max(float[] x) {
        float max = OUT;
        for (float v : x) {
            max = Math.max(max, v);
        }
        return max;
    }

    /** Probabilities; NaN scores give NaN, which {@link #draw} reports. */
    static double[] softmax(float[] x) {
        float max = max(x);
        double[] p = new double[x.length];
        double sum = 0;
        for (int i = 0; i < x.length; i++) {
            sum += p[i] = x[i] == OUT ? 0 : Math.exp((double) x[i] - max);
        }
        for (int i = 0; i < x.length; i++) {
            p[i] /= sum;
        }
        return p;
    }

    /** The index of the largest score, the first of equals. */
    static int likeliest(float[] x) {
        int best = 0;
        for (int i = 1; i < x.length; i++) {
            if (x[i] > x[best] || Float.isNaN(x[best])) {
                best = i;
            }
        }
        if (!(x[best] > OUT)) {
            throw new IllegalArgumentException(
                    Float.isNaN(x[best])
                            ? "generate: the model's scores are not numbers (NaN)"
                            : "generate: every token is banned");
        }
        return best;
    }

    /** A token with the probability that its score says. */
    static int draw(float[] x, Rng rng) {
        likeliest(x);
        double[] p = softmax(x);
        double u = rng.nextDouble(), sum = 0;
        int last = -1;
        for (int i = 0; i < p.length; i++) {
            if (p[i] > 0) {
                sum += p[i];
                last = i;
                if (u < sum) {
                    return i;
                }
            }
        }
        return last;
    }
}
