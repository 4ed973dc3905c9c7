package anneal.kernels.emit;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.Objects;
import java.util.function.Consumer;

/**
 * What tiled attention does with one tile of 64 keys (rows) by 64 queries (columns), for heads of one size: products in register
 * tiles, and the exponentials with all that stands beside them. Dao, arXiv:2307.08691.
 *
 * <p>A panel [64, dim] holds rows of queries, keys or values, filled up to whole registers with zeros ({@link #panelBytes}); a
 * transposed one [dim, 64] takes as much. A tile [64, 64] holds scores, probabilities or their gradients. All are aligned to
 * 64 bytes for speed, not for correctness.
 *
 * <p>What a mask hides is left out by ranges, two longs (from, to) each: of rows for every part of a tile's columns ({@link
 * #groupEnds}), or of what is summed over for every {@link #rows} rows of a result. The columns of a part and the rows of a block
 * are computed together, so their range is what any of them sees, and a range of rows is one of whole blocks.
 */
public final class AttentionTiles {
    /** Rows and columns of a tile. */
    public static final int WIDTH = AttentionCode.WIDTH;

    /** Bytes of a tile. */
    public static final long TILE_BYTES = 4L * WIDTH * WIDTH;

    private static final long ROW_BYTES = 4L * WIDTH, RANGE_BYTES = 16;

    /** Both kinds of function; the address of the code comes first, so that the handles are constants to the compiler. */
    private static final MethodHandle TILE =
            handle(FunctionDescriptor.ofVoid(ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS));

    private static final MethodHandle MOVE =
            handle(FunctionDescriptor.ofVoid(ADDRESS, ADDRESS, ADDRESS, JAVA_LONG, JAVA_LONG));

    private final int dim, rows;
    private final long panel;
    private final int[] groupEnds;
    private final MemorySegment scores, softmax, gradient, columnProduct, rowProduct, transpose, load, set, add;

    /** Emits the functions for heads of {@code dim} numbers; the code lives as long as the arena. */
    public AttentionTiles(Level level, int dim, Arena arena) {
        this.dim = dim;
        rows = AttentionCode.rows(level);
        panel = ROW_BYTES * AttentionCode.padded(level, dim);
        groupEnds = AttentionCode.parts(WIDTH / level.lanes());
        for (int i = 0, end = 0; i < groupEnds.length; i++) {
            groupEnds[i] = end += groupEnds[i] * level.lanes();
        }
        scores = code(level, arena, AttentionCode::scores);
        softmax = code(level, arena, AttentionCode::softmax);
        gradient = code(level, arena, AttentionCode::gradient);
        columnProduct = code(level, arena, AttentionCode::columns);
        rowProduct = code(level, arena, AttentionCode::rows);
        transpose = code(level, arena, AttentionCode::transpose);
        load = code(level, arena, AttentionCode::load);
        set = code(level, arena, c -> c.unload(false));
        add = code(level, arena, c -> c.unload(true));
    }

    private MemorySegment code(Level level, Arena arena, Consumer<AttentionCode<?>> function) {
        return CodeBuffer.load(arena, AttentionCode.of(level, dim, function));
    }

    private static MethodHandle handle(FunctionDescriptor type) {
        return Linker.nativeLinker().downcallHandle(type, Linker.Option.critical(false));
    }

    /** Bytes of a panel, transposed or not. */
    public long panelBytes() {
        return panel;
    }

    /** Rows of a result that are computed together; a divisor of 64. */
    public int rows() {
        return rows;
    }

    /** One past the last column of each part of a tile that is computed together. */
    public int[] groupEnds() {
        return groupEnds.clone();
    }

    /** Writes the rows that part i of the columns needs: from, to, widened to whole blocks of rows. */
    public void setGroup(MemorySegment groups, int i, int from, int to) {
        setRange(groups, i, from / rows * rows, (to + rows - 1) / rows * rows);
    }

    /**
     * Writes range i: from, to of 0 to 64; empty if from &gt;= to.
     *
     * @throws IndexOutOfBoundsException if the range leaves the tile
     */
    public void setRange(MemorySegment ranges, int i, int from, int to) {
        int end = Math.max(from, to);
        Objects.checkFromToIndex(from, end, WIDTH);
        ranges.setAtIndex(JAVA_LONG, 2L * i, from);
        ranges.setAtIndex(JAVA_LONG, 2L * i + 1, end);
    }

    /**
     * tile = a bT, for the rows that {@code groups} names for each part of the columns; the others stay.
     *
     * @param a panel; whole blocks of rows
     * @param bT transposed panel
     * @throws IndexOutOfBoundsException if a segment is too short
     */
    public void scores(MemorySegment tile, MemorySegment a, MemorySegment bT, MemorySegment groups) {
        call(scores, tile(tile), panel(a), panel(bT), groups(groups), MemorySegment.NULL);
    }

    /**
     * The online softmax of a tile, in base 2: maximum' = max(maximum, score of any row), shrink = 2^(maximum - maximum'), tile =
     * 2^(tile - maximum'), sum = shrink sum + sum of the tile's rows.
     *
     * @param state maximum [64], sum [64], shrink [64]; a maximum begins as the least finite float, so that it is never -infinity
     *     and hidden scores, which are, become 0
     * @param groups rows of each part of the columns; parts without rows stay as they are, in the state too
     * @throws IndexOutOfBoundsException if a segment is too short
     */
    public void softmax(MemorySegment tile, MemorySegment state, MemorySegment groups) {
        call(softmax, tile(tile), sized(state, 3 * ROW_BYTES), groups(groups), MemorySegment.NULL, MemorySegment.NULL);
    }

    /**
     * The gradient of the softmax: p = 2^(score - lse), ds = p (dp - delta).
     *
     * @param scores become p
     * @param gradient dp becomes ds
     * @param rows lse in base 2 [64], delta [64]; lse is not -infinity
     * @param groups rows of each part of the columns; the others stay
     * @throws IndexOutOfBoundsException if a segment is too short
     */
    public void gradient(MemorySegment scores, MemorySegment gradient, MemorySegment rows, MemorySegment groups) {
        call(
                this.gradient,
                tile(scores),
                tile(gradient),
                sized(rows, 2 * ROW_BYTES),
                groups(groups),
                MemorySegment.NULL);
    }

    /**
     * c[i] = factor[i] c[i] + sum over j of tile[j, i] b[j].
     *
     * @param c panel; blocks of rows with an empty range stay, without the factor
     * @param b panel
     * @param ranges of j for each block of rows i
     * @param factors [64]
     * @throws IndexOutOfBoundsException if a segment is too short
     */
    public void addColumns(
            MemorySegment c, MemorySegment tile, MemorySegment b, MemorySegment ranges, MemorySegment factors) {
        call(columnProduct, panel(c), tile(tile), panel(b), ranges(ranges), sized(factors, ROW_BYTES));
    }

    /**
     * c[j] += sum over i of tile[j, i] b[i].
     *
     * @param c panel
     * @param b panel
     * @param ranges of i for each block of rows j
     * @throws IndexOutOfBoundsException if a segment is too short
     */
    public void addRows(MemorySegment c, MemorySegment tile, MemorySegment b, MemorySegment ranges) {
        call(rowProduct, panel(c), tile(tile), panel(b), ranges(ranges), MemorySegment.NULL);
    }

    /**
     * to[c, r] = factor from[r, c].
     *
     * @param to transposed panel
     * @param from panel
     * @param factor one float
     * @throws IndexOutOfBoundsException if a segment is too short
     */
    public void transpose(MemorySegment to, MemorySegment from, MemorySegment factor) {
        move(transpose, panel(to), panel(from), sized(factor, 4), 0, 0);
    }

    /**
     * Rows of a tensor into a panel: panel[r] = from[r], and zeros behind the last row and column.
     *
     * @param from rows of dim floats that begin {@code stride} bytes after each other
     * @throws IndexOutOfBoundsException if a segment is too short
     */
    public void load(MemorySegment panel, MemorySegment from, long stride, int rows) {
        tensor(from, stride, rows);
        move(load, panel(panel), from, MemorySegment.NULL, stride, rows);
        if (rows < WIDTH) {
            long end = this.panel / WIDTH * rows;
            panel.asSlice(end, this.panel - end).fill((byte) 0);
        }
    }

    /**
     * Rows of a panel to rows of a tensor, or added to them: to[r] = (or +=) factor[r] panel[r].
     *
     * @param to rows of dim floats that begin {@code stride} bytes after each other
     * @param factors one for each row
     * @throws IndexOutOfBoundsException if a segment is too short
     */
    public void unload(
            MemorySegment to, long stride, MemorySegment panel, MemorySegment factors, int rows, boolean adds) {
        tensor(to, stride, rows);
        move(adds ? add : set, to, panel(panel), sized(factors, 4L * rows), stride, rows);
    }

    private void tensor(MemorySegment s, long stride, int rows) {
        if (rows < 1 || rows > WIDTH) {
            throw new IllegalArgumentException("emit: a panel has 1 to 64 rows, not " + rows);
        }
        if (stride < 0) {
            throw new IllegalArgumentException("emit: rows " + stride + " bytes apart");
        }
        sized(s, stride * (rows - 1) + 4L * dim);
    }

    /** Checks what {@code asSlice(0, bytes)} would, without an object for each argument of each call. */
    static MemorySegment sized(MemorySegment s, long bytes) {
        Objects.checkFromIndexSize(0, bytes, s.byteSize());
        return s;
    }

    private MemorySegment panel(MemorySegment s) {
        return sized(s, panel);
    }

    private static MemorySegment tile(MemorySegment s) {
        return sized(s, TILE_BYTES);
    }

    private MemorySegment groups(MemorySegment s) {
        return checked(s, groupEnds.length, rows);
    }

    private MemorySegment ranges(MemorySegment s) {
        return checked(s, WIDTH / rows, 1);
    }

    /** Ranges that stay in the tile and begin and end at multiples of {@code unit}: the code does not look again. */
    private static MemorySegment checked(MemorySegment s, int n, int unit) {
        sized(s, RANGE_BYTES * n);
        for (int i = 0; i < n; i++) {
            long from = s.getAtIndex(JAVA_LONG, 2L * i), to = s.getAtIndex(JAVA_LONG, 2L * i + 1);
            if (from < 0 || from > to || to > WIDTH || from % unit != 0 || to % unit != 0) {
                throw new IllegalArgumentException("emit: range " + i + ", [" + from + ", " + to + "), is none of 0 to "
                        + WIDTH + " in steps of " + unit);
            }
        }
        return s;
    }

    private static void call(
            MemorySegment code, MemorySegment a, MemorySegment b, MemorySegment c, MemorySegment d, MemorySegment e) {
        try {
            TILE.invokeExact(code, a, b, c, d, e);
        } catch (Throwable x) {
            throw CodeBuffer.failure(x);
        }
    }

    private static void move(
            MemorySegment code, MemorySegment a, MemorySegment b, MemorySegment c, long stride, long rows) {
        try {
            MOVE.invokeExact(code, a, b, c, stride, rows);
        } catch (Throwable x) {
            throw CodeBuffer.failure(x);
        }
    }
}
