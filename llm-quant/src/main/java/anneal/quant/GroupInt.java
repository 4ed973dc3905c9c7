package anneal.quant;

import anneal.kernels.GroupMatrix;
import anneal.kernels.Matrix;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Integers by groups of a row: number = (code - zero) * scale. Rounding to nearest, halves to even.
 *
 * <p>Symmetric: scale = max |w| / (2^(bits-1) - 1), zero = 2^(bits-1), so that codes stand for -2^(bits-1) .. 2^(bits-1) - 1.
 * Asymmetric: scale = (max - min) / (2^bits - 1) and zero = round(-min / scale), where max and min include 0.
 *
 * @param bits of a code, 2 to 8; up to 4 share a byte
 * @param group numbers of a row that share a scale; must divide the row, {@link #ROW} stands for all of it
 * @param symmetric without zeros
 */
public record GroupInt(int bits, int group, boolean symmetric) implements QuantFormat {
    /** One group for each row. */
    public static final int ROW = 0;

    /** What a scale is at least, so that nothing is divided by zero. */
    private static final float LEAST = 1e-9f;

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

    /** Rejects bits and groups that there are not. */
    public GroupInt {
        if (bits < 2 || bits > 8) {
            throw new IllegalArgumentException("GroupInt: codes have 2 to 8 bits, not " + bits);
        }
        if (group < 0) {
            throw new IllegalArgumentException("GroupInt: a group has at least one number, not " + group);
        }
    }

    @Override
    public String name() {
        return "INT" + bits + (group == ROW ? "-ROW" : "-G" + group) + (symmetric ? "" : "-ASYM");
    }

    @Override
    public void requireFits(int cols) {
        if (group != ROW && cols % group != 0) {
            throw new IllegalArgumentException(
                    "rows of " + cols + " numbers are no whole groups of " + group + ", which " + name() + " wants");
        }
        if (bits <= 4 && cols % 2 != 0) {
            throw new IllegalArgumentException("rows of " + cols + " codes of " + bits + " bits are no whole bytes");
        }
    }

    @Override
    public QuantizedWeight quantize(Matrix w, Arena arena) {
        int size = size(w.cols());
        GroupMatrix to = blank(w.rows(), w.cols(), arena);
        FlatFloats.forEach(
                w, w.cols(), (x, at, first, count) -> { // whole rows: two codes of different tasks share no byte
                    for (int i = 0; i < count; i += size) {
                        group(x, at + i, first + i, to);
                    }
                });
        return new PackedWeight(this, to);
    }

    /** Numbers that share a scale in rows of {@code cols}. */
    int size(int cols) {
        return group == ROW ? cols : group;
    }

    /**
     * A matrix of this format whose scales and zeros are still to be written, and its codes to be {@link #put}.
     *
     * @throws IllegalArgumentException if rows are no whole groups or bytes
     */
    public GroupMatrix blank(int rows, int cols, Arena arena) {
        requireFits(cols);
        long numbers = (long) rows * cols, groups = numbers / size(cols);
        MemorySegment codes = arena.allocate(Math.max(1, bits <= 4 ? numbers / 2 : numbers), 64);
        MemorySegment scales = arena.allocate(Math.max(4, 4 * groups), 64), zeros = arena.allocate(Math.max(1, groups));
        return new GroupMatrix(codes, scales, zeros, rows, cols, size(cols), bits);
    }

    /** Writes the codes of a row, each 0 .. 2^bits - 1, into a matrix that is {@link #blank}. */
    public void put(GroupMatrix to, int row, int[] codes) {
        for (int i = 0; i < codes.length; i++) {
            put(to.codes(), (long) row * to.cols() + i, codes[i]);
        }
    }

    private void group(float[] x, int at, long first, GroupMatrix to) {
        float min = 0, max = 0;
        for (int i = 0; i < to.group(); i++) {
            min = Math.min(min, x[at + i]);
            max = Math.max(max, x[at + i]);
        }
        int most = (1 << bits) - 1, half = 1 << bits - 1;
        float range = symmetric ? Math.max(max, -min) / (half - 1) : (max - min) / most, scale = Math.max(range, LEAST);
        int zero = symmetric ? half : (int) Math.rint(-min / scale);
        to.scales().set(FLOAT, 4 * (first / to.group()), scale);
        to.zeros().set(ValueLayout.JAVA_BYTE, first / to.group(), (byte) zero);
        for (int i = 0; i < to.group(); i++) {
            put(to.codes(), first + i, Math.clamp((int) Math.rint(x[at + i] / scale) + zero, 0, most));
        }
    }

    private void put(MemorySegment codes, long number, int code) {
        if (bits > 4) {
            codes.set(ValueLayout.JAVA_BYTE, number, (byte) code);
        } else if (number % 2 == 0) {
            codes.set(ValueLayout.JAVA_BYTE, number / 2, (byte) code);
        } else {
            int low = codes.get(ValueLayout.JAVA_BYTE, number / 2);
            codes.set(ValueLayout.JAVA_BYTE, number / 2, (byte) (low | code << 4));
        }
    }
}
