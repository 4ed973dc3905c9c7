package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/** Optimiser steps in the Vector API: one pass over parameter, gradient and state, cut into equal pieces for the threads. */
final class VectorUpdates {
    private static final VectorSpecies<Float> S = FloatVector.SPECIES_PREFERRED;
    private static final ByteOrder ORDER = ByteOrder.nativeOrder();
    /** Floats of one task: a few hundred kilobytes of traffic, so that starting a thread pays. */
    private static final int PIECE = 1 << 15;

    private VectorUpdates() {}

    private interface Piece {
        void run(long from, int count);
    }

    private static void pieces(long n, Piece piece) {
        int tasks = Math.toIntExact((n + PIECE - 1) / PIECE);
        Parallel.run(tasks, t -> {
            long from = (long) t * PIECE;
            piece.run(from, (int) Math.min(PIECE, n - from));
        });
    }

    private static FloatVector load(MemorySegment x, long i, VectorMask<Float> mask) {
        return FloatVector.fromMemorySegment(S, x, i * JAVA_FLOAT.byteSize(), ORDER, mask);
    }

    private static void store(FloatVector v, MemorySegment x, long i, VectorMask<Float> mask) {
        v.intoMemorySegment(x, i * JAVA_FLOAT.byteSize(), ORDER, mask);
    }

    static void sgd(MemorySegment p, MemorySegment g, MemorySegment m, long n, Kernels.Sgd s) {
        pieces(n, (from, count) -> {
            for (int i = 0; i < count; i += S.length()) {
                VectorMask<Float> in = S.indexInRange(i, count);
                long at = from + i;
                FloatVector w = load(p, at, in);
                FloatVector grad = load(g, at, in).mul(s.gradScale()).add(w.mul(s.l2()));
                FloatVector step = grad;
                if (m != null) {
                    FloatVector velocity = load(m, at, in).mul(s.momentum()).add(grad.mul(s.fresh()));
                    store(velocity, m, at, in);
                    step = s.nesterov() ? grad.add(velocity.mul(s.momentum())) : velocity;
                }
                store(w.sub(step.mul(s.rate())), p, at, in);
            }
        });
    }

    static void lion(MemorySegment p, MemorySegment g, MemorySegment m, long n, Kernels.Lion s) {
        float newInStep = (float) (1.0 - s.b1()), newInMean = (float) (1.0 - s.b2()), keep = (float) (1.0 - s.decay());
        pieces(n, (from, count) -> {
            for (int i = 0; i < count; i += S.length()) {
                VectorMask<Float> in = S.indexInRange(i, count);
                long at = from + i;
                FloatVector grad = load(g, at, in).mul(s.gradScale()), mean = load(m, at, in);
                FloatVector mixed = mean.mul(s.b1()).add(grad.mul(newInStep));
                FloatVector step = FloatVector.zero(S)
                        .blend(s.rate(), mixed.compare(VectorOperators.GT, 0f))
                        .blend(-s.rate(), mixed.compare(VectorOperators.LT, 0f));
                store(load(p, at, in).mul(keep).sub(step), p, at, in);
                store(mean.mul(s.b2()).add(grad.mul(newInMean)), m, at, in);
            }
        });
    }
}
