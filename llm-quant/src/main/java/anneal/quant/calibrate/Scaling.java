package anneal.quant.calibrate;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import anneal.kernels.Matrix;
import anneal.kernels.Parallel;
import anneal.nn.DenseWeight;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** A matrix with its rows or columns scaled, as floats [out, in] in memory; the matrix itself, perhaps in a file, is left alone. */
public final class Scaling {
    private Scaling() {}

    /** diag(s) W, s [out]. */
    public static DenseWeight rows(Matrix w, float[] s, Arena arena) {
        return scaled(
                w,
                (i, row) -> {
                    for (int j = 0; j < row.length; j++) {
                        row[j] *= s[i];
                    }
                },
                arena);
    }

    /** W diag(s), s [in]. */
    public static DenseWeight columns(Matrix w, float[] s, Arena arena) {
        return scaled(
                w,
                (i, row) -> {
                    for (int j = 0; j < row.length; j++) {
                        row[j] *= s[j];
                    }
                },
                arena);
    }

    private interface RowMap {
        void apply(int i, float[] row);
    }

    private static DenseWeight scaled(Matrix m, RowMap map, Arena arena) {
        Tensor to = Tensor.allocate(arena, Shape.of(m.rows(), m.cols()));
        Parallel.run(m.rows(), i -> {
            float[] row = new float[m.cols()];
            m.widen(i, 0, row.length, row, 0);
            map.apply(i, row);
            MemorySegment.copy(row, 0, to.buf(), JAVA_FLOAT, 4L * i * row.length, row.length);
        });
        return new DenseWeight(to);
    }
}
