package anneal.tensor;

import anneal.kernels.Matrix;
import java.util.Arrays;

/** Test storage that is not f32: the upper halves of floats on the heap. */
record Bf16Matrix(int rows, int cols, short[] bits) implements Matrix {
    static Bf16Matrix random(int rows, int cols, long seed) {
        Rng rng = new Rng(seed);
        short[] bits = new short[rows * cols];
        for (int i = 0; i < bits.length; i++) {
            bits[i] = (short) (Float.floatToIntBits((float) rng.nextGaussian()) >>> 16);
        }
        return new Bf16Matrix(rows, cols, bits);
    }

    @Override
    public void widen(int row, int col, int count, float[] dst, int at) {
        for (int i = 0; i < count; i++) {
            dst[at + i] = Float.intBitsToFloat(bits[row * cols + col + i] << 16);
        }
    }

    @Override
    public long bytes() {
        return 2L * rows * cols;
    }

    float[] floats() {
        float[] all = new float[rows * cols];
        for (int i = 0; i < rows; i++) {
            widen(i, 0, cols, all, i * cols);
        }
        return all;
    }

    Var[] vars() {
        float[] all = floats();
        double[] wide = new double[all.length];
        Arrays.setAll(wide, i -> all[i]);
        return Var.of(wide);
    }
}
