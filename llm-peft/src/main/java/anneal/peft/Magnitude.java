package anneal.peft;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import anneal.nn.Weight;
import anneal.tensor.ColumnOps;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;

/**
 * DoRA's trained lengths: what has been adapted is given the length {@code vector} in each output.
 *
 * <pre>
 * y = vector adapted / |W + scaling B A|          W [out, in], A [rank, in], B [out, rank]; the norm by output
 * </pre>
 */
final class Magnitude {
    /** Numbers of a weight that are widened at a time to measure it. */
    private static final int NUMBERS = 1 << 20;

    private final Tensor vector;
    private final Tensor a;
    private final Tensor b;
    private final float scaling;

    /** The weight that was measured, and the squares of its rows. */
    private Weight measured;

    private double[] squares;

    /** Of the addition scaling B A. */
    Magnitude(Tensor a, Tensor b, float scaling) {
        this.a = a;
        this.b = b;
        this.scaling = scaling;
        vector = LinearTuning.allocate(b.dim(0));
    }

    /** The trained lengths [out]. */
    Tensor vector() {
        return vector;
    }

    /** Shapes: adapted [.., out] -> [.., out]. */
    Tensor apply(Tensor adapted, Weight w) {
        return ColumnOps.rescaleColumns(adapted, vector, norms(w));
    }

    /** Gives each output the length that it has with A and B as they are. */
    void start(Weight w) {
        try (var _ = Memory.scope()) {
            vector.set(norms(w));
        }
    }

    /** Gives the rows of W + scaling B A [out, in] their lengths, in place. */
    void applyTo(Tensor merged) {
        int in = merged.dim(1);
        for (int i = 0; i < merged.dim(0); i++) {
            double sum = 0;
            for (int j = 0; j < in; j++) {
                double x = merged.get((long) i * in + j);
                sum += x * x;
            }
            double factor = sum > 0 ? vector.get(i) / Math.sqrt(sum) : 0;
            for (int j = 0; j < in; j++) {
                long at = (long) i * in + j;
                merged.buf().setAtIndex(JAVA_FLOAT, at, (float) (merged.get(at) * factor));
            }
        }
    }

    /**
     * Lengths of the rows of W + scaling B A [out], without making that matrix: |W|^2 + 2 scaling (W At) B + scaling^2 B (A At) B, row by
     * row. A row of zeros counts as of length 1. A constant: nothing is differentiated.
     */
    private Tensor norms(Weight w) {
        measure(w);
        Tensor norms = Tensor.empty(b.dim(0));
        try (var _ = Tape.pause()) {
            Tensor weightA = Ops.matmulT(a, w.matrix()), bAA = Ops.matmulT(b, Ops.matmulT(a, a));
            int out = b.dim(0), rank = b.dim(1);
            for (int i = 0; i < out; i++) {
                double sum = squares[i];
                for (int r = 0; r < rank; r++) {
                    double bir = b.get((long) i * rank + r);
                    sum += scaling
                            * bir
                            * (2.0 * weightA.get((long) r * out + i) + scaling * bAA.get((long) i * rank + r));
                }
                norms.buf().setAtIndex(JAVA_FLOAT, i, sum > 0 ? (float) Math.sqrt(sum) : 1);
            }
        }
        return norms;
    }

    private void measure(Weight w) {
        if (w == measured && w.parameter().filter(Tensor::tracked).isEmpty()) {
            return;
        }
        measured = w;
        squares = new double[w.out()];
        int together = Math.max(1, NUMBERS / w.in());
        for (int from = 0; from < squares.length; from += together) {
            int[] ids = new int[Math.min(together, squares.length - from)];
            for (int i = 0; i < ids.length; i++) {
                ids[i] = from + i;
            }
            try (var _ = Memory.scope();
                    var _ = Tape.pause()) {
                Tensor rows = w.rows(ids);
                for (long i = 0; i < rows.size(); i++) {
                    squares[from + (int) (i / w.in())] += (double) rows.get(i) * rows.get(i);
                }
            }
        }
    }
}
