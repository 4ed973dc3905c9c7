package anneal.kernels;

import static anneal.kernels.VectorElementwise.load;
import static anneal.kernels.VectorElementwise.store;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;

/** Optimiser steps: one pass over parameter, gradient and state. The few elements behind whole vectors are done by {@link ScalarKernels}. */
final class VectorUpdates {
    private static final int L = VectorMath.L;
    private static final Kernels PLAIN = new ScalarKernels();

    private VectorUpdates() {}

    static void adam(MemorySegment p, MemorySegment g, MemorySegment m, MemorySegment v, long n, Kernels.Adam s) {
        long whole = Chunks.whole(n);
        Chunks.run(whole, (at, len) -> adam(p, g, m, v, at, len, s));
        PLAIN.adam(
                Chunks.rest(p, whole),
                Chunks.rest(g, whole),
                Chunks.rest(m, whole),
                Chunks.rest(v, whole),
                n - whole,
                s);
    }

    private static void adam(
            MemorySegment p, MemorySegment g, MemorySegment m, MemorySegment v, long at, int n, Kernels.Adam s) {
        FloatVector scale = VectorMath.broadcast(s.gradScale()), l2 = VectorMath.broadcast(s.l2());
        FloatVector b1 = VectorMath.broadcast(s.b1()), rest1 = VectorMath.broadcast((float) (1.0 - s.b1()));
        FloatVector b2 = VectorMath.broadcast(s.b2()), rest2 = VectorMath.broadcast((float) (1.0 - s.b2()));
        FloatVector keep = VectorMath.broadcast((float) (1.0 - s.decay())), rate = VectorMath.broadcast(-s.rate());
        FloatVector correction = VectorMath.broadcast(1 / s.rootCorrection2()), eps = VectorMath.broadcast(s.eps());
        for (int c = 0; c < n; c += L) {
            long i = at + c;
            FloatVector w = load(p, i), grad = load(g, i).mul(scale).add(w.mul(l2));
            FloatVector first = load(m, i).mul(b1).add(grad.mul(rest1));
            FloatVector second = load(v, i).mul(b2).add(grad.mul(grad).mul(rest2));
            store(first, m, i);
            store(second, v, i);
            FloatVector step = first.div(second.sqrt().fma(correction, eps));
            store(w.mul(keep).add(step.mul(rate)), p, i);
        }
    }

    static void sgd(MemorySegment p, MemorySegment g, MemorySegment m, long n, Kernels.Sgd s) {
        long whole = Chunks.whole(n);
        Chunks.run(whole, (at, len) -> {
            if (m == null) {
                descend(p, g, at, len, s);
            } else {
                descend(p, g, m, at, len, s);
            }
        });
        PLAIN.sgd(Chunks.rest(p, whole), Chunks.rest(g, whole), Chunks.rest(m, whole), n - whole, s);
    }

    private static void descend(MemorySegment p, MemorySegment g, long at, int n, Kernels.Sgd s) {
        FloatVector scale = VectorMath.broadcast(s.gradScale()), l2 = VectorMath.broadcast(s.l2());
        FloatVector rate = VectorMath.broadcast(-s.rate());
        for (int c = 0; c < n; c += L) {
            long i = at + c;
            FloatVector w = load(p, i), grad = load(g, i).mul(scale).add(w.mul(l2));
            store(w.add(grad.mul(rate)), p, i);
        }
    }

    private static void descend(MemorySegment p, MemorySegment g, MemorySegment m, long at, int n, Kernels.Sgd s) {
        FloatVector scale = VectorMath.broadcast(s.gradScale()), l2 = VectorMath.broadcast(s.l2());
        FloatVector momentum = VectorMath.broadcast(s.momentum()), fresh = VectorMath.broadcast(s.fresh());
        // The step is now * gradient + ahead * velocity.
        FloatVector now = VectorMath.broadcast(s.nesterov() ? -s.rate() : 0);
        FloatVector ahead = VectorMath.broadcast(-s.rate() * (s.nesterov() ? s.momentum() : 1));
        for (int c = 0; c < n; c += L) {
            long i = at + c;
            FloatVector w = load(p, i), grad = load(g, i).mul(scale).add(w.mul(l2));
            FloatVector velocity = load(m, i).mul(momentum).add(grad.mul(fresh));
            store(velocity, m, i);
            store(w.add(grad.mul(now)).add(velocity.mul(ahead)), p, i);
        }
    }

    static void lion(MemorySegment p, MemorySegment g, MemorySegment m, long n, Kernels.Lion s) {
        long whole = Chunks.whole(n);
        Chunks.run(whole, (at, len) -> lion(p, g, m, at, len, s));
        PLAIN.lion(Chunks.rest(p, whole), Chunks.rest(g, whole), Chunks.rest(m, whole), n - whole, s);
    }

    private static void lion(MemorySegment p, MemorySegment g, MemorySegment m, long at, int n, Kernels.Lion s) {
        FloatVector scale = VectorMath.broadcast(s.gradScale()), keep = VectorMath.broadcast((float) (1.0 - s.decay()));
        FloatVector b1 = VectorMath.broadcast(s.b1()), rest1 = VectorMath.broadcast((float) (1.0 - s.b1()));
        FloatVector b2 = VectorMath.broadcast(s.b2()), rest2 = VectorMath.broadcast((float) (1.0 - s.b2()));
        FloatVector zero = VectorMath.broadcast(0), up = VectorMath.broadcast(s.rate());
        FloatVector down = VectorMath.broadcast(-s.rate());
        for (int c = 0; c < n; c += L) {
            long i = at + c;
            FloatVector grad = load(g, i).mul(scale), mean = load(m, i);
            FloatVector mixed = mean.mul(b1).add(grad.mul(rest1));
            FloatVector step = zero.blend(up, mixed.compare(VectorOperators.LT, zero))
                    .blend(down, mixed.compare(VectorOperators.GT, zero));
            store(load(p, i).mul(keep).add(step), p, i);
            store(mean.mul(b2).add(grad.mul(rest2)), m, i);
        }
    }
}
