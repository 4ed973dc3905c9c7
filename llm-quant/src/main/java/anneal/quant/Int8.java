package anneal.quant;

import anneal.kernels.Int8Matrix;
import anneal.kernels.Matrix;
import anneal.kernels.Parallel;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * LLM.int8(): bytes with one scale for each row of the weight, multiplied in integers with rows of x that are rounded to bytes likewise;
 * columns of x with a number of at least {@code threshold} stay floats. Dettmers et al., arXiv:2208.07339.
 *
 * <p>The outlier columns of the weight are read from its bytes, as bitsandbytes' do that is loaded from a file: the paper keeps them in
 * 16 bits. The gradient of x is dy times the weight that the bytes stand for.
 *
 * @param threshold absolute value from which a number of x makes its column an outlier; 0 = no column is one
 */
public record Int8(double threshold) implements QuantFormat {
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

    /** Rejects thresholds below zero. */
    public Int8 {
        if (!(threshold >= 0)) {
            throw new IllegalArgumentException("Int8: the threshold must not be negative: " + threshold);
        }
    }

    /** With the paper's threshold. */
    public Int8() {
        this(6);
    }

    @Override
    public String name() {
        return "INT8";
    }

    @Override
    public QuantizedWeight quantize(Matrix w, Arena arena) {
        int cols = w.cols();
        Int8Matrix to = new Int8Matrix(
                arena.allocate(Math.max(1, (long) w.rows() * cols), 64),
                arena.allocate(4L * w.rows(), 64),
                w.rows(),
                cols);
        FlatFloats.forEach(w, cols, (x, at, first, count) -> {
            for (int i = 0; i < count; i += cols) {
                to.absmax().set(FLOAT, 4 * ((first + i) / cols), row(x, at + i, cols, to.codes(), first + i));
            }
        });
        return new Int8Weight(this, to);
    }

    /** code = round(x 127 / absmax), halves to even; absmax is given back. */
    static float row(float[] x, int at, int count, MemorySegment codes, long to) {
        float absmax = 0;
        for (int i = 0; i < count; i++) {
            absmax = Math.max(absmax, Math.abs(x[at + i]));
        }
        float scale = absmax == 0 ? 0 : 127 / absmax;
        for (int i = 0; i < count; i++) {
            codes.set(ValueLayout.JAVA_BYTE, to + i, (byte) (int) Math.rint(x[at + i] * scale));
        }
        return absmax;
    }

    /**
     * Bytes of a matrix with a scale for each row, and others with one for each column: what LLM.int8() multiplies from either side.
     *
     * @param rows codes [rows, cols], code = round(w 127 / rowMax)
     * @param rowMax largest absolute value of each row
     * @param columns codes [rows, cols], code = round(w 127 / columnMax)
     * @param columnMax largest absolute value of each column
     */
    public record BothWays(byte[] rows, float[] rowMax, byte[] columns, float[] columnMax) {
        /** Of the floats [rows, cols]. */
        public static BothWays of(float[] w, int rows, int cols) {
            if (w.length != rows * cols) {
                throw new IllegalArgumentException(
                        "Int8: [" + rows + ", " + cols + "] has " + rows * cols + " numbers, not " + w.length);
            }
            BothWays both = new BothWays(new byte[w.length], new float[rows], new byte[w.length], new float[cols]);
            for (int i = 0; i < w.length; i++) {
                both.columnMax[i % cols] = Math.max(both.columnMax[i % cols], Math.abs(w[i]));
            }
            Parallel.run(rows, r -> {
                both.rowMax[r] = row(w, r * cols, cols, MemorySegment.ofArray(both.rows), (long) r * cols);
                for (int c = 0; c < cols; c++) {
                    float scale = both.columnMax[c] == 0 ? 0 : 127 / both.columnMax[c];
                    both.columns[r * cols + c] = (byte) (int) Math.rint(w[r * cols + c] * scale);
                }
            });
            return both;
        }
    }
}
