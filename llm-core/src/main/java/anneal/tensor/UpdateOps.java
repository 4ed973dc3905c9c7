package anneal.tensor;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import anneal.kernels.BlockwiseUpdates;
import anneal.kernels.DynamicMap;
import anneal.kernels.Kernels;
import anneal.kernels.Parallel;
import java.lang.foreign.MemorySegment;

/**
 * Optimiser steps on whole tensors, in place and outside the tape: what update rules are made of.
 *
 * <p>Each changes a parameter and its state from the parameter's gradient, times {@code gradScale}: the place where a sum of losses
 * becomes a mean and where clipping acts, without a pass of its own.
 */
public final class UpdateOps {
    private static final Kernels K = Kernels.get();

    /** Numbers of a task. */
    private static final int PIECE = 4096;

    private UpdateOps() {}

    /**
     * The numbers of an Adam step.
     *
     * @param gradScale factor of the gradient
     * @param l2 times the parameter is added to the gradient (Adam)
     * @param decay the parameter shrinks by this part first (AdamW: weight decay times rate)
     * @param beta1 memory of the mean
     * @param beta2 memory of the mean square
     * @param eps added to the root
     * @param rate learning rate
     * @param step number of this step, from 1
     */
    public record Adam(
            double gradScale,
            double l2,
            double decay,
            double beta1,
            double beta2,
            double eps,
            double rate,
            long step) {}

    /**
     * m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, p = p (1 - decay) - rate m' / (sqrt(v') + eps), with m' and v' freed of
     * their bias towards zero. Kingma and Ba, arXiv:1412.6980; Loshchilov and Hutter, arXiv:1711.05101.
     *
     * <p>Shapes: p, m, v equal.
     */
    public static void adam(Tensor p, Tensor m, Tensor v, Adam s) {
        requireState("adam", p, m);
        requireState("adam", p, v);
        K.adam(p.buf(), p.gradBuf(), m.buf(), v.buf(), p.size(), numbers(s));
    }

    /**
     * The same with moments of one byte a number, {@link BlockwiseUpdates#BLOCK} of which share a scale.
     *
     * <p>Shapes: p [..], codes as many bytes, scales one float for each block.
     */
    public static void adam(
            Tensor p, MemorySegment mCodes, Tensor mScales, MemorySegment vCodes, Tensor vScales, Adam s) {
        requireBlocks("adam", p, mCodes, mScales);
        requireBlocks("adam", p, vCodes, vScales);
        BlockwiseUpdates.adam(
                p.buf(),
                p.gradBuf(),
                new BlockwiseUpdates.Moment(DynamicMap.SIGNED, mCodes, mScales.buf()),
                new BlockwiseUpdates.Moment(DynamicMap.UNSIGNED, vCodes, vScales.buf()),
                p.size(),
                numbers(s));
    }

    /** The scales of a moment in bytes, one for each {@link BlockwiseUpdates#BLOCK} numbers of the parameter. */
    public static Shape scales(Shape parameter) {
        return Shape.of(Math.toIntExact(DynamicMap.blocks(parameter.size(), BlockwiseUpdates.BLOCK)));
    }

    private static void requireBlocks(String op, Tensor p, MemorySegment codes, Tensor scales) {
        Shape.require(
                codes.byteSize() == p.size() && scales.shape().equals(scales(p.shape())),
                op,
                p,
                scales,
                "there must be a byte for each number and a scale for each " + BlockwiseUpdates.BLOCK);
    }

    private static Kernels.Adam numbers(Adam s) {
        // The betas the kernel works with are floats; their powers must be those of the same numbers.
        float b1 = (float) s.beta1(), b2 = (float) s.beta2();
        return new Kernels.Adam(
                (float) s.gradScale(),
                (float) s.l2(),
                b1,
                b2,
                (float) s.eps(),
                (float) s.decay(),
                (float) (s.rate() / (1 - Math.pow(b1, s.step()))),
                (float) Math.sqrt(1 - Math.pow(b2, s.step())));
    }

    /**
     * The numbers of a step of gradient descent.
     *
     * @param gradScale factor of the gradient
     * @param l2 times the parameter is added to the gradient
     * @param momentum memory of the velocity
     * @param fresh weight of the new gradient in the velocity
     * @param nesterov look ahead by one velocity
     * @param rate learning rate
     */
    public record Sgd(double gradScale, double l2, double momentum, double fresh, boolean nesterov, double rate) {}

    /** m = momentum m + fresh g, p = p - rate m (or g + momentum m, looking ahead); m is null: p = p - rate g. */
    public static void sgd(Tensor p, Tensor m, Sgd s) {
        if (m != null) {
            requireState("sgd", p, m);
        }
        K.sgd(
                p.buf(),
                p.gradBuf(),
                m == null ? null : m.buf(),
                p.size(),
                new Kernels.Sgd(
                        (float) s.gradScale(),
                        (float) s.l2(),
                        (float) s.momentum(),
                        (float) s.fresh(),
                        s.nesterov(),
                        (float) s.rate()));
    }

    /**
     * The numbers of a Lion step.
     *
     * @param gradScale factor of the gradient
     * @param beta1 weight of the memory in the direction
     * @param beta2 memory of the mean
     * @param decay the parameter shrinks by this part first
     * @param rate learning rate
     */
    public record Lion(double gradScale, double beta1, double beta2, double decay, double rate) {}

    /** p = p (1 - decay) - rate sign(b1 m + (1 - b1) g), m = b2 m + (1 - b2) g. Chen et al., arXiv:2302.06675. */
    public static void lion(Tensor p, Tensor m, Lion s) {
        requireState("lion", p, m);
        K.lion(p.buf(), p.gradBuf(), m.buf(), p.size(), numbers(s));
    }

    /**
     * The same with a mean of one byte a number.
     *
     * <p>Shapes: p [..], codes as many bytes, scales one float for each block of {@link BlockwiseUpdates#BLOCK}.
     */
    public static void lion(Tensor p, MemorySegment codes, Tensor scales, Lion s) {
        requireBlocks("lion", p, codes, scales);
        BlockwiseUpdates.Moment mean = new BlockwiseUpdates.Moment(DynamicMap.SIGNED, codes, scales.buf());
        BlockwiseUpdates.lion(p.buf(), p.gradBuf(), mean, p.size(), numbers(s));
    }

    private static Kernels.Lion numbers(Lion s) {
        return new Kernels.Lion(
                (float) s.gradScale(), (float) s.beta1(), (float) s.beta2(), (float) s.decay(), (float) s.rate());
    }

    /**
     * What a loss would change by without each number of w, smoothed over steps: s = |w dw gradScale|, mean = b1 mean + (1 - b1) s,
     * apart = b2 apart + (1 - b2) |s - mean|, in doubles. Zhang et al., arXiv:2303.10512, equations 9 to 11.
     *
     * <p>Shapes: w, mean, apart equal. Without a gradient s is 0.
     */
    public static void sensitivity(Tensor w, Tensor mean, Tensor apart, double gradScale, double b1, double b2) {
        requireState("sensitivity", w, mean);
        requireState("sensitivity", w, apart);
        MemorySegment g = w.hasGrad() ? w.gradBuf() : null;
        Parallel.run(Math.toIntExact(Math.ceilDiv(w.size(), PIECE)), task -> {
            long from = (long) task * PIECE;
            int count = (int) Math.min(PIECE, w.size() - from);
            float[] x = piece(w.buf(), from, count), m = piece(mean.buf(), from, count);
            float[] dx = g == null ? new float[count] : piece(g, from, count), a = piece(apart.buf(), from, count);
            for (int i = 0; i < count; i++) {
                double s = Math.abs((double) x[i] * dx[i] * gradScale);
                m[i] = (float) (b1 * m[i] + (1 - b1) * s);
                a[i] = (float) (b2 * a[i] + (1 - b2) * Math.abs(s - m[i]));
            }
            MemorySegment.copy(m, 0, mean.buf(), JAVA_FLOAT, 4 * from, count);
            MemorySegment.copy(a, 0, apart.buf(), JAVA_FLOAT, 4 * from, count);
        });
    }

    private static float[] piece(MemorySegment s, long from, int count) {
        float[] floats = new float[count];
        MemorySegment.copy(s, JAVA_FLOAT, 4 * from, floats, 0, count);
        return floats;
    }

    /** Sum of squares of all numbers of x. */
    public static double squaredNorm(Tensor x) {
        return K.dot(x.buf(), x.buf(), x.size());
    }

    private static void requireState(String op, Tensor p, Tensor state) {
        Shape.require(p.size() == state.size(), op, p, state, "state and parameter must be equally large");
    }
}
