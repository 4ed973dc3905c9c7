package anneal.tensor;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import anneal.kernels.Activation;
import anneal.kernels.F32Matrix;
import anneal.kernels.Kernels;
import anneal.kernels.Matrix;
import java.lang.foreign.MemorySegment;

/** What a recurrent network is made of, in the style of {@link Ops}. T is the number of time steps, H the size of the state. */
public final class RecurrentOps {
    private static final Kernels K = Kernels.get();

    private RecurrentOps() {}

    /**
     * The recurrence of a long short-term memory over one sequence, from state zero:
     *
     * <pre>
     * [i f g o]_t = a_t + W h_{t-1}                       i, f, o through a sigmoid, g through tanh
     * c_t = f c_{t-1} + i g,   h_t = o tanh(c_t)
     * </pre>
     *
     * <p>Shapes: a [T, 4 H], what the inputs give to the gates, biases included; w [4 H, H] -> h [T, H]. Saves gates, c and
     * tanh(c). Gradient: back through time, then dw = sum of da_t h_{t-1}T as one product. Hochreiter and Schmidhuber (1997), with
     * the forget gate of Gers et al. (2000); order of the gates as in PyTorch.
     *
     * @param reverse from the last step to the first: h_{t-1} is h_{t+1}
     */
    public static Tensor lstm(Tensor a, Tensor w, boolean reverse) {
        Shape.require(a.shape().rank() == 2 && w.shape().rank() == 2, "lstm", a, w, "both must have two dimensions");
        Shape.require(
                a.dim(1) == w.dim(0) && w.dim(0) == 4 * w.dim(1), "lstm", a, w, "a must be [T, 4 H] and w [4 H, H]");
        Lstm saved = new Lstm(a, w, reverse);
        Tensor h = saved.forward();
        return Tape.record(h, saved::backward, a, w, h);
    }

    /** One run over a sequence: what the backward pass needs of it. */
    private static final class Lstm {
        private final Kernels products = Kernels.get(Tape.compute());
        private final Tensor a;
        private final Tensor w;
        private final Matrix matrix;
        private final boolean reverse;
        private final int steps;
        private final int size;
        private final Tensor h;
        private final Tensor gates;
        private final Tensor cell;
        private final Tensor cellTanh;

        Lstm(Tensor a, Tensor w, boolean reverse) {
            this.a = a;
            this.w = w;
            this.reverse = reverse;
            steps = a.dim(0);
            size = w.dim(1);
            matrix = new F32Matrix(w.buf(), 4 * size, size);
            h = Tensor.empty(steps, size);
            gates = Tensor.like(a);
            cell = Tensor.empty(steps, size);
            cellTanh = Tensor.empty(steps, size);
        }

        /** The time of the n-th step that is computed. */
        private int time(int n) {
            return reverse ? steps - 1 - n : n;
        }

        private MemorySegment row(Tensor x, int t) {
            return x.buf().asSlice(4L * t * x.rowSize(), 4L * x.rowSize());
        }

        Tensor forward() {
            gates.set(a);
            for (int n = 0; n < steps; n++) {
                int t = time(n);
                MemorySegment g = row(gates, t), c = row(cell, t), before = n == 0 ? null : row(cell, time(n - 1));
                if (n > 0) {
                    products.matmulT(g, row(h, time(n - 1)), matrix, 1, 1f, true);
                }
                squash(g, 0, 2, Activation.SIGMOID);
                squash(g, 2, 1, Activation.TANH);
                squash(g, 3, 1, Activation.SIGMOID);
                for (int k = 0; k < size; k++) {
                    float kept = before == null ? 0 : gate(g, 1, k) * at(before, k);
                    set(c, k, kept + gate(g, 0, k) * gate(g, 2, k));
                }
                K.activation(row(cellTanh, t), c, size, Activation.TANH);
                K.mul(row(h, t), g.asSlice(12L * size), row(cellTanh, t), size, false);
            }
            return h;
        }

        /** Puts some gates through a function, in place. */
        private void squash(MemorySegment g, int first, int count, Activation f) {
            MemorySegment part = g.asSlice(4L * first * size, 4L * count * size);
            K.activation(part, part, (long) count * size, f);
        }

        void backward() {
            Tensor da = Tensor.like(a), dh = Tensor.zeros(size), dc = Tensor.zeros(size);
            for (int n = steps - 1; n >= 0; n--) {
                int t = time(n);
                K.axpy(dh.buf(), h.gradBuf().asSlice(4L * t * size, 4L * size), 1f, size);
                MemorySegment before = n == 0 ? null : row(cell, time(n - 1));
                gateGrads(row(da, t), row(gates, t), row(cellTanh, t), before, dh.buf(), dc.buf());
                products.matmul(dh.buf(), row(da, t), matrix, 1, 1f, false); // what flows to the state before
            }
            Ops.addGrad(a, da.buf(), 1f);
            if (w.tracked()) {
                weightGrad(da);
            }
        }

        /** da of one step; dc becomes that of the step before. */
        private void gateGrads(
                MemorySegment da,
                MemorySegment g,
                MemorySegment cTanh,
                MemorySegment before,
                MemorySegment dh,
                MemorySegment dc) {
            for (int k = 0; k < size; k++) {
                float in = gate(g, 0, k), forget = gate(g, 1, k), fresh = gate(g, 2, k), out = gate(g, 3, k);
                float tanh = at(cTanh, k), d = at(dc, k) + at(dh, k) * out * (1 - tanh * tanh);
                set(da, k, d * fresh * in * (1 - in));
                set(da, size + k, before == null ? 0 : d * at(before, k) * forget * (1 - forget));
                set(da, 2 * size + k, d * in * (1 - fresh * fresh));
                set(da, 3 * size + k, at(dh, k) * tanh * out * (1 - out));
                set(dc, k, d * forget);
            }
        }

        /** dw += sum over all steps but the first of da_t h_{t-1}T. */
        private void weightGrad(Tensor da) {
            if (steps < 2) {
                w.gradBuf(); // no step reads w: zero
                return;
            }
            long skipA = reverse ? 0 : 16L * size, skipH = reverse ? 4L * size : 0;
            boolean add = w.hasGrad();
            MemorySegment dw = w.gradSlot();
            products.matmulTN(dw, da.buf().asSlice(skipA), h.buf().asSlice(skipH), 4 * size, size, steps - 1, 1f, add);
        }

        private float gate(MemorySegment g, int which, int k) {
            return at(g, which * size + k);
        }
    }

    private static float at(MemorySegment x, int k) {
        return x.getAtIndex(JAVA_FLOAT, k);
    }

    private static void set(MemorySegment x, int k, float value) {
        x.setAtIndex(JAVA_FLOAT, k, value);
    }

    /** y = [a | b], row beside row: the two directions of a recurrent network. Shapes: a [.., M], b [.., N] -> [.., M + N]. */
    public static Tensor concat(Tensor a, Tensor b) {
        Shape.require(a.rowCount() == b.rowCount(), "concat", a, b, "both must have equally many rows");
        int left = a.rowSize(), right = b.rowSize(), all = left + right, rows = a.rowCount();
        Tensor y = Tensor.empty(a.shape().withLast(all));
        Ops.copyRows(y.buf(), all, 0, a.buf(), left, 0, rows, left);
        Ops.copyRows(y.buf(), all, left, b.buf(), right, 0, rows, right);
        return Tape.record(
                y,
                () -> {
                    if (a.tracked()) {
                        Ops.addRows(a.gradBuf(), left, 0, y.gradBuf(), all, 0, rows, left);
                    }
                    if (b.tracked()) {
                        Ops.addRows(b.gradBuf(), right, 0, y.gradBuf(), all, left, rows, right);
                    }
                },
                a,
                b);
    }
}
