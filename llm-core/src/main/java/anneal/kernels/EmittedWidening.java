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
    /** The one last asked for: a piece is short, and 16 floats take their time to be hashed. */
    private volatile Codebook last = new Codebook(List.of(), null);

    private record Codebook(List<Float> values, CodebookWidening code) {}

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
        Format format = format(w);
        if (format != null) {
            formats.get(format).rows(to, stored(w, row, col), rowBytes(w), rows, count);
            return;
        }
        if (w instanceof CodebookMatrix m && m.grouped()) {
            codebook(to, m, row, rows, col, count);
            return;
        }
        for (int i = 0; i < rows; i++) {
            other(to.asSlice(FLOAT * i * count), w, row + i, col, count);
        }
    }

    /** What is stored from [row, col] on. */
    private static MemorySegment stored(Matrix w, int row, int col) {
        return switch (w) {
            case F16Matrix m -> m.data().asSlice(2 * ((long) row * m.cols() + col));
            case BF16Matrix m -> m.data().asSlice(2 * ((long) row * m.cols() + col));
            case BlockMatrix m -> m.data().asSlice(m.offset(row, col));
            default -> throw new IllegalArgumentException(w + " has no rows of bytes");
        };
    }

    private static long rowBytes(Matrix w) {
        return w instanceof BlockMatrix m ? m.offset(1, 0) : 2L * w.cols();
    }

    private void codebook(MemorySegment to, CodebookMatrix m, int row, int rows, int col, int count) {
        RunScales scales = RunScales.of(m, row, rows, col, count);
        MemorySegment codes = m.codes().asSlice(((long) row * m.cols() + col) / 2);
        var piece = new CodebookWidening.Piece(
                codes, m.cols() / 2, scales.floats(), scales.apart(), m.run(), col % m.run());
        codebook(m.values()).rows(to, piece, rows, count);
    }

    private CodebookWidening codebook(List<Float> values) {
        Codebook found = last;
        if (found.values != values) {
            CodebookWidening code =
                    codebooks.computeIfAbsent(values, v -> new CodebookWidening(v, level, Arena.global()));
            last = found = new Codebook(values, code);
        }
        return found.code;
    }

    private static void other(MemorySegment to, Matrix w, int row, int col, int count) {
        float[] floats = VectorScratch.mine().piece(count);
        VectorWiden.row(w, row, col, count, floats, 0);
        MemorySegment.copy(floats, 0, to, JAVA_FLOAT, 0, count);
    }

    /** The format that there is code for; null if there is none. */
    private static Format format(Matrix w) {
        return switch (w) {
            case F16Matrix m -> Format.F16;
            case BF16Matrix m -> Format.BF16;
            case BlockMatrix m ->
                switch (m.format()) {
                    case Q4_0 -> Format.Q4_0;
                    case Q4_1 -> Format.Q4_1;
                    case Q8_0 -> Format.Q8_0;
                    case Q4_K -> Format.Q4_K;
                    case Q6_K -> Format.Q6_K;
                    case Q5_0, Q5_1, Q2_K, Q3_K, Q5_K -> null;
                };
            default -> null;
        };
    }
}
