package anneal.tensor;

import java.util.Arrays;
import java.util.function.Supplier;
import java.util.stream.Collectors;

/** Dimensions of a tensor, outermost first; a scalar is [1]. */
public final class Shape {
    private final int[] dims;
    private final long size;

    private Shape(int[] dims) {
        this.dims = dims;
        long n = 1;
        for (int d : dims) {
            if (d < 0) {
                throw new ShapeException("shape " + Arrays.toString(dims) + ": a dimension is negative");
            }
            if (d > 0 && n > Long.MAX_VALUE / d) {
                throw new ShapeException("shape " + Arrays.toString(dims) + ": more elements than can be counted");
            }
            n *= d;
        }
        this.size = n;
    }

    /** The shape with these dimensions. */
    public static Shape of(int... dims) {
        if (dims.length == 0) {
            throw new ShapeException("shape []: at least one dimension is needed, a scalar is [1]");
        }
        return new Shape(dims.clone());
    }

    /** Throws a {@link ShapeException} "op: x [..] does not fit w [..]: rule" unless {@code holds}. */
    public static void require(boolean holds, String op, Tensor x, Tensor w, String rule) {
        if (!holds) {
            throw new ShapeException(op + ": " + x.shape() + " does not fit " + w.shape() + ": " + rule);
        }
    }

    /** Throws a {@link ShapeException} with this sentence unless {@code holds}. */
    public static void require(boolean holds, String op, Tensor x, String rule) {
        if (!holds) {
            throw new ShapeException(op + ": " + x.shape() + ": " + rule);
        }
    }

    /** The same with a rule that is put into words only if it is broken. */
    public static void require(boolean holds, String op, Tensor x, Supplier<String> rule) {
        if (!holds) {
            throw new ShapeException(op + ": " + x.shape() + ": " + rule.get());
        }
    }

    /** Number of dimensions. */
    public int rank() {
        return dims.length;
    }

    /** Dimension i; negative counts from the last. */
    public int dim(int i) {
        int at = i < 0 ? dims.length + i : i;
        if (at < 0 || at >= dims.length) {
            throw new ShapeException("dim: " + this + " has no dimension " + i);
        }
        return dims[at];
    }

    /** The last dimension. */
    public int last() {
        return dims[dims.length - 1];
    }

    /** Product of all dimensions. */
    public long size() {
        return size;
    }

    /** Product of all dimensions but the last. */
    public int rows() {
        long n = 1;
        for (int i = 0; i < dims.length - 1; i++) {
            n *= dims[i];
        }
        return Math.toIntExact(n);
    }

    /** The same shape with another last dimension. */
    public Shape withLast(int last) {
        int[] d = dims.clone();
        d[d.length - 1] = last;
        return new Shape(d);
    }

    /** A copy of the dimensions. */
    public int[] dims() {
        return dims.clone();
    }

    @Override
    public boolean equals(Object o) {
        return o instanceof Shape s && Arrays.equals(dims, s.dims);
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(dims);
    }

    @Override
    public String toString() {
        return Arrays.stream(dims).mapToObj(Integer::toString).collect(Collectors.joining(", ", "[", "]"));
    }
}
