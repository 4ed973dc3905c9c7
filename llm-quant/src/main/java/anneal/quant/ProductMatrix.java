package anneal.quant;

import anneal.kernels.Matrix;
import java.util.Arrays;

/**
 * The product of two thin matrices, multiplied out piece by piece where somebody wants to read it.
 *
 * @param u [rows, k]
 * @param v [k, cols]
 */
record ProductMatrix(Matrix u, Matrix v) implements Matrix {
    @Override
    public int rows() {
        return u.rows();
    }

    @Override
    public int cols() {
        return v.cols();
    }

    @Override
    public void widen(int row, int col, int count, float[] dst, int at) {
        float[] left = new float[u.cols()], right = new float[count];
        u.widen(row, 0, left.length, left, 0);
        Arrays.fill(dst, at, at + count, 0);
        for (int r = 0; r < left.length; r++) {
            v.widen(r, col, count, right, 0);
            for (int j = 0; j < count; j++) {
                dst[at + j] += left[r] * right[j];
            }
        }
    }

    @Override
    public int block() {
        return v.block();
    }

    @Override
    public long bytes() {
        return u.bytes() + v.bytes();
    }
}
