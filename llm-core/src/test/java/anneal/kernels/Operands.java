package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.MemorySegment;

/** What {@link Kernels#round} must give, said in another way than the kernels do it. */
final class Operands {
    private Operands() {}

    /** These numbers as bfloat16: of the two that enclose a number the nearer one, or the one whose last bit is 0. */
    static float[] bfloats(float[] x) {
        float[] y = new float[x.length];
        for (int i = 0; i < x.length; i++) {
            y[i] = bfloat(x[i]);
        }
        return y;
    }

    private static float bfloat(float x) {
        if (!Float.isFinite(x)) {
            return x;
        }
        int bits = Float.floatToRawIntBits(x) & 0xFFFF0000, nextBits = bits + 0x10000;
        double below = Float.intBitsToFloat(bits), above = Float.intBitsToFloat(nextBits);
        if (Double.isInfinite(above)) {
            above = Math.copySign(0x1p128, x); // what would come next, if there were such numbers
        }
        double down = Math.abs(x - below), up = Math.abs(above - x);
        boolean even = (bits >>> 16 & 1) == 0;
        return Float.intBitsToFloat(down < up || down == up && even ? bits : nextBits);
    }

    /** Each 32 numbers as d q with whole q of -127 .. 127. */
    static float[] int8(float[] x) {
        float[] y = new float[x.length];
        for (int block = 0; block < x.length; block += 32) {
            float most = 0;
            for (int i = block; i < block + 32; i++) {
                most = Math.max(most, Math.abs(x[i]));
            }
            for (int i = block; i < block + 32; i++) {
                float steps = most == 0 ? 0 : x[i] * (127 / most);
                int low = (int) Math.floor(steps);
                double above = steps - (double) low;
                int code = above < 0.5 || above == 0.5 && low % 2 == 0 ? low : low + 1;
                y[i] = most / 127 * code;
            }
        }
        return y;
    }

    /** Runs the kernel. */
    static float[] round(Kernels kernels, float[] x, Compute compute) {
        try (Buffers buffers = new Buffers()) {
            MemorySegment from = buffers.of(x), to = buffers.filled(x.length, 7f);
            kernels.round(to, from, x.length, compute);
            float[] apart = Buffers.floats(to);
            MemorySegment.copy(x, 0, to, JAVA_FLOAT, 0, x.length);
            kernels.round(to, to, x.length, compute);
            buffers.assertGuards();
            if (!java.util.Arrays.equals(Buffers.floats(to), apart)) {
                throw new AssertionError("rounding in place gives other numbers");
            }
            return apart;
        }
    }
}
