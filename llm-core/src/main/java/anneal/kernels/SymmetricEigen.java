package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.MemorySegment;
import java.util.Comparator;
import java.util.stream.IntStream;

/**
 * Eigenvalues and eigenvectors of a symmetric matrix without LAPACK.
 *
 * <p>Householder reflections bring it to three diagonals, the QL algorithm with implicit shifts turns those into one: Martin, Reinsch
 * and Wilkinson, Numerische Mathematik 11 (1968), 181, and Dubrulle, Martin and Wilkinson, Numerische Mathematik 12 (1968), 377. All in
 * doubles, about 9 n^3 operations; every sum has one order, so results do not depend on the number of threads.
 */
final class SymmetricEigen {
    /** Rows or columns of a task. */
    private static final int PIECE = 32;

    /** Steps for one eigenvalue; two are usual. */
    private static final int MOST_STEPS = 100;

    private final int n;
    private final double[][] a;
    private final double[] scales;
    private final double[] diagonal;
    private final double[] beside;

    /** Eigenvectors, one in each row. */
    private final double[][] vectors;

    private SymmetricEigen(double[][] a) {
        this.a = a;
        n = a.length;
        scales = new double[n];
        diagonal = new double[n];
        beside = new double[n];
        vectors = new double[n][n];
    }

    /** See {@link Lapack#eigSymmetric}. */
    static void run(MemorySegment values, MemorySegment vectors, MemorySegment a, int n) {
        double[][] full = new double[n][n];
        for (int i = 0; i < n; i++) {
            for (int j = 0; j <= i; j++) {
                full[i][j] = a.getAtIndex(JAVA_FLOAT, (long) i * n + j);
                full[j][i] = full[i][j];
            }
        }
        SymmetricEigen eigen = new SymmetricEigen(full);
        eigen.tridiagonalise();
        eigen.turnBack();
        eigen.diagonalise();
        int[] rising = IntStream.range(0, n)
                .boxed()
                .sorted(Comparator.comparingDouble(i -> eigen.diagonal[i]))
                .mapToInt(i -> i)
                .toArray();
        for (int k = 0; k < n; k++) {
            values.setAtIndex(JAVA_FLOAT, k, (float) eigen.diagonal[rising[k]]);
            for (int i = 0; i < n; i++) {
                vectors.setAtIndex(JAVA_FLOAT, (long) i * n + k, (float) eigen.vectors[rising[k]][i]);
            }
        }
    }

    /**
     * a = Q T QT. Reflection k is 1 - scale v vT and clears column k below the diagonal's neighbour; v stays in column k, as row k, where
     * nobody looks any more.
     */
    private void tridiagonalise() {
        double[] p = new double[n];
        for (int k = 0; k < n - 2; k++) {
            double[] v = a[k];
            double rest = 0;
            for (int i = k + 2; i < n; i++) {
                rest += v[i] * v[i];
            }
            diagonal[k] = v[k];
            beside[k] = v[k + 1];
            if (rest == 0) {
                continue;
            }
            double length = Math.sqrt(v[k + 1] * v[k + 1] + rest), end = v[k + 1] > 0 ? -length : length;
            beside[k] = end;
            v[k + 1] -= end;
            double scale = 2 / (v[k + 1] * v[k + 1] + rest);
            scales[k] = scale;
            int from = k + 1;
            byPieces(from, i -> p[i] = scale * dot(a[i], v, from));
            double half = scale / 2 * dot(p, v, from);
            for (int i = from; i < n; i++) {
                p[i] -= half * v[i];
            }
            byPieces(from, i -> {
                double[] row = a[i];
                double vi = v[i], pi = p[i];
                for (int j = from; j < n; j++) {
                    row[j] -= vi * p[j] + pi * v[j];
                }
            });
        }
        for (int k = Math.max(0, n - 2); k < n; k++) {
            diagonal[k] = a[k][k];
            beside[k] = k + 1 < n ? a[k][k + 1] : 0;
        }
    }

    private interface Row {
        void run(int i);
    }

    private void byPieces(int from, Row row) {
        Parallel.run(Math.ceilDiv(n - from, PIECE), task -> {
            int start = from + task * PIECE;
            for (int i = start; i < Math.min(n, start + PIECE); i++) {
                row.run(i);
            }
        });
    }

    private double dot(double[] x, double[] y, int from) {
        double sum = 0;
        for (int i = from; i < n; i++) {
            sum += x[i] * y[i];
        }
        return sum;
    }

    /** vectors = QT, the product of all reflections. */
    private void turnBack() {
        byPieces(0, i -> {
            double[] row = vectors[i];
            row[i] = 1;
            for (int k = n - 3; k >= 0; k--) {
                if (scales[k] != 0) {
                    double[] v = a[k];
                    double f = scales[k] * dot(row, v, k + 1);
                    for (int j = k + 1; j < n; j++) {
                        row[j] -= f * v[j];
                    }
                }
            }
        });
    }

    private void diagonalise() {
        double[] cos = new double[n], sin = new double[n];
        for (int first = 0; first < n; first++) {
            int last = blockEnd(first);
            for (int step = 0; last > first; step++) {
                if (step == MOST_STEPS) {
                    throw new IllegalStateException("eigSymmetric: eigenvalue " + first + " of " + n
                            + " was not found in " + MOST_STEPS + " steps");
                }
                int down = chase(first, last, cos, sin);
                rotate(down, last, cos, sin);
                last = blockEnd(first);
            }
        }
    }

    /** The first index from {@code first} on whose neighbour on the side is nothing. */
    private int blockEnd(int first) {
        int m = first;
        while (m < n - 1 && Math.abs(beside[m]) > Math.ulp(Math.abs(diagonal[m]) + Math.abs(diagonal[m + 1])) / 2) {
            m++;
        }
        return m;
    }

    /**
     * One QL step of the block first .. last: the shift is the eigenvalue of the upper corner that is nearer to its first number.
     *
     * @return the lowest index that was rotated
     */
    private int chase(int first, int last, double[] cos, double[] sin) {
        double ratio = (diagonal[first + 1] - diagonal[first]) / (2 * beside[first]);
        double shift = diagonal[first] - beside[first] / (ratio + Math.copySign(Math.hypot(ratio, 1), ratio));
        double g = diagonal[last] - shift, s = 1, c = 1, moved = 0;
        for (int i = last - 1; i >= first; i--) {
            double f = s * beside[i], b = c * beside[i], r = Math.hypot(f, g);
            beside[i + 1] = r;
            if (r == 0) {
                diagonal[i + 1] -= moved;
                beside[last] = 0;
                return i + 1;
            }
            s = f / r;
            c = g / r;
            double d = diagonal[i + 1] - moved, t = (diagonal[i] - d) * s + 2 * c * b;
            moved = s * t;
            diagonal[i + 1] = d + moved;
            g = c * t - b;
            cos[i] = c;
            sin[i] = s;
        }
        diagonal[first] -= moved;
        beside[first] = g;
        beside[last] = 0;
        return first;
    }

    /** Rotations last - 1 .. down of neighbouring eigenvectors; a task has some columns of all of them. */
    private void rotate(int down, int last, double[] cos, double[] sin) {
        int width = 4 * PIECE;
        Parallel.run(Math.ceilDiv(n, width), task -> {
            int from = task * width, to = Math.min(n, from + width);
            for (int i = last - 1; i >= down; i--) {
                double[] x = vectors[i], y = vectors[i + 1];
                double c = cos[i], s = sin[i];
                for (int j = from; j < to; j++) {
                    double below = y[j];
                    y[j] = s * x[j] + c * below;
                    x[j] = c * x[j] - s * below;
                }
            }
        });
    }
}
