package anneal.model;

import anneal.nn.DenseWeight;
import anneal.nn.TransposedWeight;
import anneal.nn.Weight;
import anneal.tensor.Rng;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Random starts. A matrix's numbers are a function of seed and name alone, so adding a layer leaves the others as they were.
 */
public sealed interface Init {
    /** Fills {@code values}, the next numbers of a matrix [out, in] in its storage's order. */
    void fill(float[] values, int out, int in, WeightSource.Role role, Rng rng);

    /** N(0, std^2). */
    record Normal(double std) implements Init {
        @Override
        public void fill(float[] values, int out, int in, WeightSource.Role role, Rng rng) {
            normal(values, std, rng);
        }
    }

    /** N(0, std^2) without what lies further than two standard deviations out: drawn again until it does not. */
    record TruncatedNormal(double std) implements Init {
        @Override
        public void fill(float[] values, int out, int in, WeightSource.Role role, Rng rng) {
            for (int i = 0; i < values.length; i++) {
                double z = rng.nextGaussian();
                while (Math.abs(z) > 2) {
                    z = rng.nextGaussian();
                }
                values[i] = (float) (z * std);
            }
        }
    }

    /** U(-a, a) with a = sqrt(6 / (in + out)). Glorot and Bengio, AISTATS 2010. */
    record Xavier() implements Init {
        @Override
        public void fill(float[] values, int out, int in, WeightSource.Role role, Rng rng) {
            uniform(values, Math.sqrt(6.0 / (in + out)), rng);
        }
    }

    /** U(-a, a) with a = sqrt(6 / in), for layers followed by a ReLU. He et al., arXiv:1502.01852. */
    record Kaiming() implements Init {
        @Override
        public void fill(float[] values, int out, int in, WeightSource.Role role, Rng rng) {
            uniform(values, Math.sqrt(6.0 / in), rng);
        }
    }

    /**
     * N(0, std^2), and std / sqrt(2 L) for the layer that closes a branch, so that the stream's variance does not grow with the number
     * of layers L. Radford et al. (2019).
     */
    record ScaledResidual(double std, int layers) implements Init {
        @Override
        public void fill(float[] values, int out, int in, WeightSource.Role role, Rng rng) {
            normal(values, role == WeightSource.Role.RESIDUAL ? std / Math.sqrt(2.0 * layers) : std, rng);
        }
    }

    private static void normal(float[] values, double std, Rng rng) {
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (rng.nextGaussian() * std);
        }
    }

    private static void uniform(float[] values, double bound, Rng rng) {
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) ((2 * rng.nextDouble() - 1) * bound);
        }
    }

    /** The usual start of a family: GPT-2's scaled residual, N(0, initRange^2) for the others. */
    static Init usual(DecoderConfig config) {
        return config.family() == Family.GPT2
                ? new ScaledResidual(config.initRange(), config.layers())
                : new Normal(config.initRange());
    }

    /** A source of fresh, trainable weights; norms start at one, biases at zero. */
    default WeightSource weights(DecoderConfig config, long seed, Arena arena) {
        boolean transposed = config.family().names().transposed();
        return new WeightSource() {
            @Override
            public Weight matrix(String name, int out, int in, Role role) {
                boolean turned = transposed && (role == Role.LINEAR || role == Role.RESIDUAL);
                Tensor t = Tensor.allocate(arena, turned ? Shape.of(in, out) : Shape.of(out, in));
                Rng rng = new Rng(seed).fork(name.hashCode());
                float[] piece =
                        new float[in]; // a matrix as one array would make the heap as large as the largest of them
                for (int i = 0; i < out; i++) {
                    fill(piece, out, in, role, rng);
                    MemorySegment.copy(piece, 0, t.buf(), ValueLayout.JAVA_FLOAT, 4L * i * in, in);
                }
                Weight dense = new DenseWeight(t.trainable(true));
                return turned ? new TransposedWeight(dense) : dense;
            }

            @Override
            public Tensor vector(String name, int size, float fresh) {
                Tensor t = Tensor.allocate(arena, Shape.of(size));
                float[] values = new float[size];
                java.util.Arrays.fill(values, fresh);
                t.set(values);
                return t.trainable(true);
            }
        };
    }
}
