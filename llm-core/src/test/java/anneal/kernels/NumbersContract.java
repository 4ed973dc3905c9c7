package anneal.kernels;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.DoubleUnaryOperator;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterEach;

/** What contracts of kernels on plain numbers share: buffers whose guards are looked at, and references in double precision. */
abstract class NumbersContract {
    static final int[] SIZES = {1, 4, 6, 8, 13, 16, 25, 33, 64, 255, 1024, 1030, 4098};
    static final int[] DIMS = {1, 4, 6, 8, 13, 16, 25, 100, 576, 1030};

    private final int threads = Parallel.threads();
    final Buffers m = new Buffers();
    final Random random = new Random(1234);

    abstract Kernels kernels();

    @AfterEach
    void checkGuards() {
        Parallel.threads(threads);
        m.assertGuards();
        m.close();
    }

    final MemorySegment normal(long n) {
        return m.normal(random, n, 1);
    }

    static double[] map(MemorySegment x, DoubleUnaryOperator f) {
        return Arrays.stream(Buffers.doubles(x)).map(f).toArray();
    }

    interface Two {
        double of(double a, double b);
    }

    static double[] map(MemorySegment x, MemorySegment y, Two f) {
        double[] a = Buffers.doubles(x), b = Buffers.doubles(y);
        for (int i = 0; i < a.length; i++) {
            a[i] = f.of(a[i], b[i]);
        }
        return a;
    }

    /** Gradient of sum(dy f(x)) by central differences, for each row of {@code dim} numbers on its own. */
    static double[] slope(UnaryOperator<double[]> f, MemorySegment x, MemorySegment dy, int dim, double add) {
        double[] all = Buffers.doubles(x), d = Buffers.doubles(dy), result = new double[all.length];
        for (int at = 0; at < all.length; at += dim) {
            double[] row = Arrays.copyOfRange(all, at, at + dim);
            for (int i = 0; i < dim; i++) {
                double old = row[i], h = 1e-5 * Math.max(1, Math.abs(old)), sum = 0;
                row[i] = old + h;
                double[] up = f.apply(row);
                row[i] = old - h;
                double[] down = f.apply(row);
                row[i] = old;
                for (int j = 0; j < up.length; j++) {
                    sum += d[at / dim * up.length + j] * (up[j] - down[j]);
                }
                result[at + i] = add + sum / (2 * h);
            }
        }
        return result;
    }

    /** f of each row of {@code dim} numbers. */
    static double[] rows(MemorySegment x, int dim, UnaryOperator<double[]> f) {
        double[] all = Buffers.doubles(x);
        List<double[]> rows = new ArrayList<>();
        for (int at = 0; at < all.length; at += dim) {
            rows.add(f.apply(Arrays.copyOfRange(all, at, at + dim)));
        }
        return rows.stream().flatMapToDouble(Arrays::stream).toArray();
    }
}
