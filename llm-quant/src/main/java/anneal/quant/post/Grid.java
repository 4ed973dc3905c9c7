package anneal.quant.post;

import anneal.kernels.BlockFormat;
import anneal.kernels.PlainBlock;
import java.util.Arrays;
import java.util.Optional;

/**
 * A uniform grid of 2^bits values, and which numbers share one.
 *
 * <pre>
 * w' = scale (code - zero)              code = clamp(round(w / scale) + zero, 0, 2^bits - 1)
 * symmetric:  scale = max|w| / (2^(bits-1) - 1)              zero = 2^(bits-1)
 * asymmetric: scale = (max(w, 0) - min(w, 0)) / (2^bits - 1)   zero = round(-min(w, 0) / scale)
 * </pre>
 *
 * <p>Rounding is to even, in single precision, as torch's. Zero is always on the grid. A symmetric code minus its zero is the
 * signed integer of other libraries, in -2^(bits-1) .. 2^(bits-1) - 1.
 *
 * @param bits 2 to 8
 * @param group neighbours in a row that share a scale; {@link #PER_ROW} or {@link #PER_TENSOR}
 * @param symmetric whether the grid is the same on both sides of zero
 */
public record Grid(int bits, int group, boolean symmetric) {
    /** One scale a row. */
    public static final int PER_ROW = 0;

    /** One scale for the matrix. */
    public static final int PER_TENSOR = -1;

    /** The least scale: that of a group of zeros. */
    private static final float LEAST = 1e-9f;

    public Grid {
        if (bits < 2 || bits > 8) {
            throw new IllegalArgumentException("Grid: " + bits + " bits: there are grids of 2 to 8");
        }
        if (group < PER_TENSOR) {
            throw new IllegalArgumentException(
                    "Grid: group " + group + " must be a number of columns, PER_ROW or PER_TENSOR");
        }
    }

    /**
     * The grid whose codes are those of a GGUF format: groups of 32, symmetric in Q4_0, Q5_0 and Q8_0.
     *
     * @throws IllegalArgumentException for the K formats, whose scales are codes themselves
     */
    public static Grid of(BlockFormat format) {
        if (PlainBlock.bits(format) == 0) {
            throw new IllegalArgumentException(
                    "Grid: " + format
                            + " has scales that are codes themselves, no uniform grid; Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0 have one");
        }
        return new Grid(PlainBlock.bits(format), PlainBlock.SIZE, PlainBlock.symmetric(format));
    }

    /** The GGUF format whose blocks can hold the codes of this grid; empty if there is none. */
    public Optional<BlockFormat> blocks() {
        return Arrays.stream(BlockFormat.values())
                .filter(f -> PlainBlock.bits(f) != 0 && of(f).equals(this))
                .findFirst();
    }

    /** One scale a row, asymmetric, until told otherwise: {@code Grid.bits(4).groups(64)}. */
    public static Grid bits(int bits) {
        return new Grid(bits, PER_ROW, false);
    }

    /** The same with groups of so many columns. */
    public Grid groups(int columns) {
        return new Grid(bits, columns, symmetric);
    }

    /** The same with one scale for the matrix. */
    public Grid perTensor() {
        return new Grid(bits, PER_TENSOR, symmetric);
    }

    /** The same, equal on both sides of zero. */
    public Grid symmetrical() {
        return new Grid(bits, group, true);
    }

    /** Scale and zero of one group. */
    public record Step(float scale, int zero) {}

    /** The step that covers numbers between {@code low} and {@code high}. */
    public Step step(float low, float high) {
        if (!Float.isFinite(high - low)) {
            throw new IllegalArgumentException(
                    "quantise: a group of weights reaches from " + low + " to " + high + ": they must be finite");
        }
        if (symmetric) {
            float most = Math.max(Math.abs(low), Math.abs(high));
            return new Step(Math.max(LEAST, most / (half() - 1)), half());
        }
        float from = Math.min(low, 0), to = Math.max(high, 0);
        float scale = Math.max(LEAST, (to - from) / last());
        return new Step(scale, (int) Math.rint(-from / scale));
    }

    /** The code nearest to w. */
    public int code(double w, Step s) {
        return (int) Math.clamp(Math.rint((float) (w / s.scale)) + s.zero, 0, last());
    }

    /** The number that a code stands for. */
    public static float value(int code, Step s) {
        return (code - s.zero) * s.scale;
    }

    private int half() {
        return 1 << bits - 1;
    }

    private int last() {
        return (1 << bits) - 1;
    }

    /** Columns of a group in rows of {@code cols}; throws if rows are no whole groups. */
    public int groupSize(int cols) {
        if (group > 0 && cols % group != 0) {
            throw new IllegalArgumentException(
                    "quantise: rows of " + cols + " weights are no whole groups of " + group);
        }
        return group > 0 ? group : cols;
    }

    /** "INT4", "INT3 g64", "INT8 tensor", with "sym" if it is: for reports. */
    @Override
    public String toString() {
        return "INT" + bits + (group > 0 ? " g" + group : group == PER_ROW ? "" : " tensor")
                + (symmetric ? " sym" : "");
    }
}
