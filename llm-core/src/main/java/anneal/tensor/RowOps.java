package anneal.tensor;

import anneal.kernels.Kernels;
import java.lang.foreign.MemorySegment;

/** Rows that go different ways and come together again; {@link Ops#rows} is the other half. */
public final class RowOps {
    private static final Kernels K = Kernels.get();

    private RowOps() {}

    /**
     * Puts rows that were computed apart into their places: y[rows[p][i]] = parts[p][i].
     *
     * <p>Shapes: parts[p] [.., D] with as many rows as {@code rows[p]}, N in all -> [N, D]. Gradient: dparts[p][i] += dy[rows[p][i]].
     *
     * @param rows the place of each row of each part; every place 0 .. N-1 exactly once
     */
    public static Tensor place(Tensor[] parts, int[][] rows) {
        int width = requireFit(parts, rows), count = 0;
        for (int[] r : rows) {
            count += r.length;
        }
        requireEachOnce(rows, count);
        Tensor y = Tensor.empty(count, width);
        for (int p = 0; p < parts.length; p++) {
            for (int i = 0; i < rows[p].length; i++) {
                MemorySegment.copy(parts[p].buf(), 4L * i * width, y.buf(), 4L * rows[p][i] * width, 4L * width);
            }
        }
        return Tape.record(
                y,
                () -> {
                    for (int p = 0; p < parts.length; p++) {
                        if (parts[p].tracked()) {
                            takeGrad(parts[p], rows[p], y);
                        }
                    }
                },
                parts);
    }

    private static void takeGrad(Tensor part, int[] rows, Tensor y) {
        int width = y.rowSize();
        MemorySegment to = part.gradBuf(), from = y.gradBuf();
        for (int i = 0; i < rows.length; i++) {
            K.axpy(to.asSlice(4L * i * width, 4L * width), from.asSlice(4L * rows[i] * width, 4L * width), 1f, width);
        }
    }

    private static int requireFit(Tensor[] parts, int[][] rows) {
        if (parts.length == 0 || parts.length != rows.length) {
            throw new ShapeException("place: " + parts.length + " parts do not fit " + rows.length
                    + " lists of places: there must be one for each part, and at least one");
        }
        for (int p = 0; p < parts.length; p++) {
            Shape.require(
                    parts[p].rowSize() == parts[0].rowSize(),
                    "place",
                    parts[p],
                    parts[0],
                    "all parts must have the same last dim");
            int given = rows[p].length;
            Shape.require(given == parts[p].rowCount(), "place", parts[p], "needs a place for each row, got " + given);
        }
        return parts[0].rowSize();
    }

    private static void requireEachOnce(int[][] rows, int count) {
        boolean[] taken = new boolean[count];
        for (int[] part : rows) {
            for (int row : part) {
                if (row < 0 || row >= count || taken[row]) {
                    throw new ShapeException("place: row " + row + " of " + count
                            + (row < 0 || row >= count ? " does not exist" : " is given twice")
                            + ": each place must be given exactly once");
                }
                taken[row] = true;
            }
        }
    }
}
