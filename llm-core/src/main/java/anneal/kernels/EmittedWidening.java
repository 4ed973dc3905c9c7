package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import anneal.kernels.emit.CodebookWidening;
import anneal.kernels.emit.Level;
import anneal.kernels.emit.Widening;
import anneal.kernels.emit.Widening.Format;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** {@link Matrix#widen} outside the heap, by emitted code for the formats that have some; values are the same to the bit. */
final class EmittedWidening {
    private static final long FLOAT = 4;

    private final Level level;
    private final Map<Format, Widening> formats = new EnumMap<>(Format.class);
    /** By their 16 values; code is made when they are first met. */
    private final Map<List<Float>, CodebookWidening> codebooks = new ConcurrentHashMap<>();

    EmittedWidening(Level level) {
        this.level = level;
        for (Format format : Format.values()) {
            formats.put(format, new Widening(format, level, Arena.global()));
        }
    }

    /**
     * Rows [row, row + rows) of w, columns [col, col + count), one after the other: {@code to} is [rows, count]. Block formats get
     * whole blocks.
     */
    void rows(MemorySegment to, Matrix w, int row, int rows, int col, int count) {
        if (count == w.cols() && w.bytes() < Integer.MAX_VALUE) {
            numbers(to, w, row, 0, rows * count); // whole rows are stored one after the other
            return;
        }
        for (int i = 0; i < rows; i++) {
            numbers(to.asSlice(FLOAT * i * count), w, row + i, col, count);
        }
    }

    /** {@code count} numbers from [row, col] on, in the order in which they are stored. */
    private void numbers(MemorySegment to, Matrix w, int row, int col, int count) {
        long from = (long) row * w.cols() + col;
        switch (w) {
            case F16Matrix m -> formats.get(Format.F16).widen(to, m.data().asSlice(2 * from), count);
            case BF16Matrix m -> formats.get(Format.BF16).widen(to, m.data().asSlice(2 * from), count);
            case BlockMatrix m
            when format(m) != null -> formats.get(format(m)).widen(to, m.data().asSlice(m.offset(row, col)), count);
            case CodebookMatrix m ->
                codebooks
                        .computeIfAbsent(m.values(), v -> new CodebookWidening(v, level, Arena.global()))
                        .widen(to, m.codes(), m.scales(), m.blockSize(), from, count);
            default -> onHeap(to, w, row, col, count);
        }
    }

    private static Format format(BlockMatrix m) {
        return switch (m.format()) {
            case Q4_0 -> Format.Q4_0;
            case Q4_1 -> Format.Q4_1;
            case Q8_0 -> Format.Q8_0;
            case Q4_K -> Format.Q4_K;
            case Q6_K -> Format.Q6_K;
            case Q5_0, Q5_1, Q2_K, Q3_K, Q5_K -> null;
        };
    }

    private static void onHeap(MemorySegment to, Matrix w, int row, int col, int count) {
        float[] floats = VectorScratch.mine().piece(w.cols());
        for (int at = 0; at < count; row++, col = 0) {
            int some = Math.min(count - at, w.cols() - col);
            w.widen(row, col, some, floats, 0);
            MemorySegment.copy(floats, 0, to, JAVA_FLOAT, FLOAT * at, some);
            at += some;
        }
    }
}
