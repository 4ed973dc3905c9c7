package anneal.quant.post;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import anneal.kernels.GroupMatrix;
import anneal.kernels.Matrix;
import anneal.kernels.Parallel;
import anneal.kernels.PlainBlock;
import anneal.nn.FolderForm;
import anneal.nn.Stored;
import anneal.quant.GroupInt;
import anneal.quant.PackQuantized;
import anneal.tensor.DType;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * A matrix on a {@link Grid}: codes packed without gaps, a float scale a group, a byte for its zero if the grid is asymmetric.
 *
 * <p>Eight codes are {@code bits} bytes, the first in the lowest bits; a row begins on a byte. Codes of a symmetric grid are stored
 * less their zero, in two's complement: with 8 bits, the matrix is one of signed bytes.
 */
public final class UniformMatrix implements Matrix {
    private static final int TOGETHER = 8;
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final ValueLayout.OfLong EIGHT_BYTES =
            ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private final Grid grid;
    private final int rows;
    private final int cols;
    private final int groupSize;
    private final long rowBytes;
    /** Turns a code into what is stored, and back: the sign bit of a symmetric grid, else nothing. */
    private final int flip;

    private final MemorySegment codes;
    private final MemorySegment scales;
    private final MemorySegment zeros;

    /** A matrix whose codes and steps are still to be {@link #put}. */
    UniformMatrix(Grid grid, int rows, int cols, Arena arena) {
        this.grid = grid;
        this.rows = rows;
        this.cols = cols;
        this.groupSize = grid.groupSize(cols);
        this.rowBytes = (long) (cols + TOGETHER - 1) / TOGETHER * grid.bits();
        this.flip = grid.symmetric() ? 1 << grid.bits() - 1 : 0;
        this.codes = arena.allocate(rowBytes * rows + TOGETHER, 64); // eight bytes can be read wherever codes begin
        this.scales = arena.allocate(4L * Math.max(1, steps()), 64);
        this.zeros = grid.symmetric() ? null : arena.allocate(Math.max(1, steps()), 64);
    }

    /** Signed bytes [rows, cols], cols a multiple of eight, with a scale for each row: read in place. */
    UniformMatrix(MemorySegment bytes, MemorySegment scales, int rows, int cols) {
        this.grid = Grid.bits(8).symmetrical();
        this.rows = rows;
        this.cols = cols;
        this.groupSize = cols;
        this.rowBytes = cols;
        this.flip = 1 << 7;
        this.codes = bytes;
        this.scales = scales;
        this.zeros = null;
    }

    /** The codes and steps of a matrix of groups: the same numbers. */
    static UniformMatrix of(GroupInt format, GroupMatrix m, Arena arena) {
        Grid grid = new Grid(format.bits(), format.group(), format.symmetric());
        UniformMatrix to = new UniformMatrix(grid, m.rows(), m.cols(), arena);
        Parallel.run(m.rows(), row -> {
            to.put(row, IntStream.range(0, m.cols()).map(j -> m.code(row, j)).toArray());
            for (int g = 0; g < to.groups(); g++) {
                long at = to.stepOf(row, g);
                to.put(
                        row,
                        g,
                        new Grid.Step(m.scales().get(FLOAT, 4 * at), m.zeros().get(JAVA_BYTE, at) & 0xff));
            }
        });
        return to;
    }

    /** The format that has groups as this grid has them; empty if rows share a scale or are no whole bytes of its codes. */
    private Optional<GroupInt> groupFormat() {
        boolean whole = grid.bits() > 4 || cols % 2 == 0;
        return grid.group() != Grid.PER_TENSOR && whole
                ? Optional.of(new GroupInt(grid.bits(), grid.group(), grid.symmetric()))
                : Optional.empty();
    }

    /**
     * How a folder holds it as packed integers by groups; empty if {@link #groupFormat} is.
     *
     * @param inputs what config.json says of the layer's inputs; empty if they are floats
     * @param beside tensors that the inputs have
     */
    Optional<FolderForm> packed(Map<String, Object> inputs, Map<String, Stored> beside) {
        return groupFormat().map(f -> new PackQuantized(f, () -> grouped(f, Arena.ofAuto()), inputs, beside));
    }

    /** The same numbers in that format. */
    private GroupMatrix grouped(GroupInt format, Arena arena) {
        GroupMatrix to = format.blank(rows, cols, arena);
        Parallel.run(rows, row -> {
            format.put(to, row, codes(row));
            for (int g = 0; g < groups(); g++) {
                Grid.Step s = step(row, g);
                to.scales().set(FLOAT, 4 * stepOf(row, g), s.scale());
                to.zeros().set(JAVA_BYTE, stepOf(row, g), (byte) s.zero());
            }
        });
        return to;
    }

    /** One scale for each group, in the order of rows. */
    MemorySegment scales() {
        return scales;
    }

    /** The grid. */
    public Grid grid() {
        return grid;
    }

    @Override
    public int rows() {
        return rows;
    }

    @Override
    public int cols() {
        return cols;
    }

    /** Groups of a row. */
    public int groups() {
        return cols / groupSize;
    }

    private int steps() {
        return grid.group() == Grid.PER_TENSOR ? 1 : rows * groups();
    }

    private long stepOf(int row, int group) {
        return grid.group() == Grid.PER_TENSOR ? 0 : (long) row * groups() + group;
    }

    /** Scale and zero of a group. */
    public Grid.Step step(int row, int group) {
        long at = stepOf(row, group);
        return new Grid.Step(
                scales.getAtIndex(JAVA_FLOAT, at),
                zeros == null ? 1 << grid.bits() - 1 : zeros.get(JAVA_BYTE, at) & 0xff);
    }

    /** Sets scale and zero of a group. */
    void put(int row, int group, Grid.Step step) {
        long at = stepOf(row, group);
        scales.setAtIndex(JAVA_FLOAT, at, step.scale());
        if (zeros != null) {
            zeros.set(JAVA_BYTE, at, (byte) step.zero());
        }
    }

    /** Writes the codes of a row. */
    void put(int row, int[] rowCodes) {
        int bits = grid.bits();
        for (int j = 0; j < cols; j += TOGETHER) {
            long word = 0;
            for (int k = 0; k < Math.min(TOGETHER, cols - j); k++) {
                word |= (long) (rowCodes[j + k] ^ flip) << k * bits;
            }
            long at = row * rowBytes + j / TOGETHER * bits;
            for (int b = 0; b < bits; b++) {
                codes.set(JAVA_BYTE, at + b, (byte) (word >>> 8 * b));
            }
        }
    }

    /** Codes of a row: [cols], each 0 .. 2^bits - 1. */
    public int[] codes(int row) {
        return codes(row, 0, cols);
    }

    /** The codes as signed bytes [rows, cols], read in place; null if they are not stored so. */
    MemorySegment signedBytes() {
        return grid.symmetric() && grid.bits() == 8 && rowBytes == cols ? codes : null;
    }

    /** Codes of {@code count} columns from {@code col}, a multiple of eight, on. */
    int[] codes(int row, int col, int count) {
        int[] to = new int[count];
        int bits = grid.bits(), mask = (1 << bits) - 1;
        for (int j = 0; j < count; j += TOGETHER) {
            long word = codes.get(EIGHT_BYTES, row * rowBytes + (long) (col + j) / TOGETHER * bits);
            for (int k = 0; k < Math.min(TOGETHER, count - j); k++) {
                to[j + k] = (int) (word >>> k * bits) & mask ^ flip;
            }
        }
        return to;
    }

    /**
     * The same codes as blocks of a GGUF format, if the grid is one's; scales are rounded to 16 bits: numbers differ by 2^-11 of
     * themselves at most, with a minimum 2^-11 of the group's range.
     *
     * @throws IllegalArgumentException if a scale is beyond 16 bits
     */
    public Optional<Stored> blocks() {
        return grid.blocks().map(format -> {
            MemorySegment to = Arena.ofAuto().allocate((long) rows * groups() * format.bytes(), 64);
            Parallel.run(rows, row -> {
                int[] all = codes(row);
                for (int g = 0; g < groups(); g++) {
                    Grid.Step s = step(row, g);
                    int[] block = Arrays.copyOfRange(all, g * groupSize, (g + 1) * groupSize);
                    long at = stepOf(row, g) * format.bytes();
                    PlainBlock.put(format, s.scale(), -s.scale() * s.zero(), block, to, at);
                }
            });
            return new Stored(DType.valueOf(format.name()), to, rows, cols);
        });
    }

    @Override
    public void widen(int row, int col, int count, float[] dst, int at) {
        int[] some = codes(row, col, count);
        for (int j = 0; j < count; ) {
            int group = (col + j) / groupSize, end = Math.min(count, (group + 1) * groupSize - col);
            Grid.Step s = step(row, group);
            for (; j < end; j++) {
                dst[at + j] = Grid.value(some[j], s);
            }
        }
    }

    @Override
    public int block() {
        return TOGETHER;
    }

    @Override
    public long bytes() {
        return rowBytes * rows + 4L * steps() + (zeros == null ? 0 : steps());
    }
}
