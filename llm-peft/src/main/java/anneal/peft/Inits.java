package anneal.peft;

import anneal.tensor.Rng;
import anneal.tensor.Tensor;
import java.util.function.DoubleSupplier;

/** First numbers of trained tensors. */
final class Inits {
    private Inits() {}

    /** Uniform in +-1/sqrt(columns): Kaiming's bound sqrt(6 / ((1 + a^2) fanIn)) with a = sqrt 5, PEFT's choice. */
    static void kaiming(Tensor x, Rng rng) {
        uniform(x, 1 / Math.sqrt(x.dim(1)), rng);
    }

    /** Uniform in +-bound. */
    static void uniform(Tensor x, double bound, Rng rng) {
        fill(x, () -> (2 * rng.nextDouble() - 1) * bound);
    }

    /** Normal with this standard deviation. */
    static void normal(Tensor x, double deviation, Rng rng) {
        fill(x, () -> rng.nextGaussian() * deviation);
    }

    /** Normal with this standard deviation, drawn again while further out than two of them. */
    static void truncatedNormal(Tensor x, double deviation, Rng rng) {
        fill(x, () -> {
            double z = rng.nextGaussian();
            while (Math.abs(z) > 2) {
                z = rng.nextGaussian();
            }
            return z * deviation;
        });
    }

    /** The same number everywhere. */
    static void constant(Tensor x, double value) {
        fill(x, () -> value);
    }

    private static void fill(Tensor x, DoubleSupplier next) {
        float[] values = new float[Math.toIntExact(x.size())];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) next.getAsDouble();
        }
        x.set(values);
    }
}
