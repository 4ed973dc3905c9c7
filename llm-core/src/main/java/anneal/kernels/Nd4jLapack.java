package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.bytedeco.javacpp.DoublePointer;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/**
 * LAPACK through ND4J, on our memory.
 *
 * <p>ND4J's gesvd can only make all m columns of u, and its geqrf only works for m >= n. So every matrix is turned until it is tall,
 * reduced by QR, and what is decomposed is the square R: the thin SVD at less cost (Chan, ACM TOMS 8, 1982).
 */
final class Nd4jLapack {
    private Nd4jLapack() {}

    static void svd(MemorySegment u, MemorySegment s, MemorySegment vt, MemorySegment a, int m, int n) {
        if (m < n) { // aT = v diag(s) uT
            try (Arena arena = Arena.ofShared()) {
                Columns v = new Columns(arena, n, m), ut = new Columns(arena, m, m);
                tallSvd(v, s, ut, Columns.of(arena, a, m, n).transposed(arena), arena);
                ut.transposed(arena).writeTo(u);
                v.transposed(arena).writeTo(vt);
            }
            return;
        }
        try (Arena arena = Arena.ofShared()) {
            Columns left = new Columns(arena, m, n), right = new Columns(arena, n, n);
            tallSvd(left, s, right, Columns.of(arena, a, m, n), arena);
            left.writeTo(u);
            right.writeTo(vt);
        }
    }

    /** a [m, n] with m >= n, overwritten; u [m, n], vt [n, n]. */
    private static void tallSvd(Columns u, MemorySegment s, Columns vt, Columns a, Arena arena) {
        int n = a.columns;
        Columns values = new Columns(arena, n, 1);
        if (a.rows == n) {
            Nd4j.getBlasWrapper().lapack().gesvd(a.array(), values.array(), u.array(), vt.array());
        } else {
            Columns r = new Columns(arena, n, n), inner = new Columns(arena, n, n);
            tallQr(a, r);
            Nd4j.getBlasWrapper().lapack().gesvd(r.array(), values.array(), inner.array(), vt.array());
            Nd4j.gemm(a.array(), inner.array(), u.array(), false, false, 1, 0);
        }
        values.writeTo(s);
    }

    static void qr(MemorySegment q, MemorySegment r, MemorySegment a, int m, int n) {
        try (Arena arena = Arena.ofShared()) {
            Columns left = Columns.of(arena, a, m, n);
            if (m >= n) {
                Columns right = new Columns(arena, n, n);
                tallQr(left, right);
                left.writeTo(q);
                right.writeTo(r);
                return;
            }
            // The first m columns give q; the others only have to be turned by it: r = qT a.
            Columns square = new Columns(arena, m, m), right = new Columns(arena, m, n), r1 = new Columns(arena, m, m);
            square.data.copyFrom(left.data.asSlice(0, square.data.byteSize()));
            tallQr(square, r1);
            Nd4j.gemm(square.array(), left.array(), right.array(), true, false, 1, 0);
            right.data.asSlice(0, r1.data.byteSize()).copyFrom(r1.data);
            square.writeTo(q);
            right.writeTo(r);
        }
    }

    /** a [m, n] with m >= n becomes q, and r [n, n] is written. */
    private static void tallQr(Columns a, Columns r) {
        Nd4j.getBlasWrapper().lapack().geqrf(a.array(), r.array());
        for (int j = 0; j < r.columns; j++) {
            for (int i = j + 1; i < r.rows; i++) {
                r.set(i, j, 0);
            }
        }
    }

    static void eigSymmetric(MemorySegment values, MemorySegment vectors, MemorySegment a, int n) {
        try (Arena arena = Arena.ofShared()) {
            Columns matrix = Columns.of(arena, a, n, n), found = new Columns(arena, n, 1);
            Nd4j.getBlasWrapper().lapack().syev('V', 'L', matrix.array(), found.array());
            found.writeTo(values);
            matrix.writeTo(vectors);
        }
    }

    /** A column-major matrix of doubles: what LAPACK works on. */
    private static final class Columns {
        final MemorySegment data;
        final int rows;
        final int columns;

        Columns(Arena arena, int rows, int columns) {
            this.data = arena.allocate(8L * rows * columns, 64);
            this.rows = rows;
            this.columns = columns;
        }

        /** Row-major floats. */
        static Columns of(Arena arena, MemorySegment floats, int rows, int columns) {
            Columns c = new Columns(arena, rows, columns);
            for (int i = 0; i < rows; i++) {
                for (int j = 0; j < columns; j++) {
                    c.set(i, j, floats.getAtIndex(JAVA_FLOAT, (long) i * columns + j));
                }
            }
            return c;
        }

        Columns transposed(Arena arena) {
            Columns c = new Columns(arena, columns, rows);
            for (int i = 0; i < rows; i++) {
                for (int j = 0; j < columns; j++) {
                    c.set(j, i, get(i, j));
                }
            }
            return c;
        }

        void writeTo(MemorySegment floats) {
            for (int i = 0; i < rows; i++) {
                for (int j = 0; j < columns; j++) {
                    floats.setAtIndex(JAVA_FLOAT, (long) i * columns + j, (float) get(i, j));
                }
            }
        }

        double get(int i, int j) {
            return data.getAtIndex(JAVA_DOUBLE, (long) j * rows + i);
        }

        void set(int i, int j, double x) {
            data.setAtIndex(JAVA_DOUBLE, (long) j * rows + i, x);
        }

        /** The same memory for ND4J. */
        INDArray array() {
            long length = (long) rows * columns;
            var buffer = Nd4j.createBuffer(new Borrowed(data, length), length, DataType.DOUBLE);
            return Nd4j.create(buffer, new long[] {rows, columns}, new long[] {1, rows}, 0, 'f', DataType.DOUBLE);
        }
    }

    /** A pointer to memory that somebody else owns. */
    private static final class Borrowed extends DoublePointer {
        Borrowed(MemorySegment s, long count) {
            super((org.bytedeco.javacpp.Pointer) null);
            address = s.address();
            limit = capacity = count;
        }
    }
}
