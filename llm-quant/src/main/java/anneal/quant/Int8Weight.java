package anneal.quant;

import anneal.kernels.Int8Matrix;
import anneal.kernels.Kernels;
import anneal.kernels.Parallel;
import anneal.nn.FolderForm;
import anneal.tensor.Memory;
import anneal.tensor.Shape;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Optional;

/**
 * A weight whose products are LLM.int8()'s, see {@link Int8}.
 *
 * @param quantFormat what it was made with
 * @param matrix bytes and the scales of their rows
 */
public record Int8Weight(Int8 quantFormat, Int8Matrix matrix) implements QuantizedWeight {
    private static final Kernels K = Kernels.get();

    /** False: x is rounded to bytes on its way. */
    @Override
    public boolean exact() {
        return false;
    }

    /**
     * y = x wT in integers, and in floats for the columns of x that hold an outlier.
     *
     * <p>Shapes: x [.., in] -> [.., out]. Gradient: dx = dy w.
     */
    @Override
    public Tensor matmulT(Tensor x) {
        Shape.require(x.rowSize() == in(), "matmulT", x, "x's last dim must equal " + in() + " of the INT8 weight");
        Tensor y = Tensor.empty(x.shape().withLast(out()));
        try (Memory.Scope scope = Memory.scope()) { // bytes and sums are gone when the product is there
            product(y, x.toArray(), x.rowCount());
        }
        return Tape.record(
                y,
                () -> {
                    boolean add = x.hasGrad();
                    K.matmul(x.gradSlot(), y.gradBuf(), matrix, x.rowCount(), 1, add);
                },
                x);
    }

    private void product(Tensor y, float[] x, int m) {
        int n = out(), k = in();
        MemorySegment sums = Tensor.empty(m, n).buf(),
                bytes = Tensor.empty((m * k + 3) / 4).buf();
        int[] outliers = outliers(x, k);
        float[] absmax = new float[m], scales = new float[n];
        Parallel.run(m, r -> {
            float[] row = Arrays.copyOfRange(x, r * k, (r + 1) * k);
            for (int c : outliers) {
                row[c] = 0;
            }
            absmax[r] = Int8.row(row, 0, k, bytes, (long) r * k);
        });
        for (int c = 0; c < n; c++) {
            scales[c] = matrix.scale(c);
        }
        K.matmulTInt8(sums, bytes, matrix.codes(), m, n, k);
        float[] columns = columns(outliers);
        Parallel.run(m, r -> {
            for (int c = 0; c < n; c++) {
                long at = (long) r * n + c;
                float sum = sums.getAtIndex(ValueLayout.JAVA_INT, at) * (absmax[r] / 127) * scales[c], rest = 0;
                for (int j = 0; j < outliers.length; j++) {
                    rest += x[r * k + outliers[j]] * columns[c * outliers.length + j];
                }
                y.buf().setAtIndex(ValueLayout.JAVA_FLOAT, at, sum + rest);
            }
        });
    }

    /** Columns of x that hold a number of at least the threshold. */
    private int[] outliers(float[] x, int k) {
        BitSet columns = new BitSet(k);
        float threshold = (float) quantFormat.threshold();
        for (int i = 0; threshold > 0 && i < x.length; i++) {
            if (Math.abs(x[i]) >= threshold) {
                columns.set(i % k);
            }
        }
        return columns.stream().toArray();
    }

    /** Those columns of the weight as floats [out, columns]. */
    private float[] columns(int[] which) {
        float[] w = new float[out() * which.length];
        for (int i = 0; i < w.length; i++) {
            int row = i / which.length;
            matrix.widen(row, which[i % which.length], 1, w, i);
        }
        return w;
    }

    @Override
    public Optional<FolderForm> folderForm() {
        return Optional.of(new Bitsandbytes.Int8Form(this));
    }
}
