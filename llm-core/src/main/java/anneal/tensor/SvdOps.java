package anneal.tensor;

/**
 * What training a matrix in the shape of its singular value decomposition, B diag(E) A, needs beside products: its singular values
 * as factors of rows, and how far its singular vectors are from orthonormal. Zhang et al., arXiv:2303.10512.
 */
public final class SvdOps {
    private SvdOps() {}

    /**
     * y = diag(e) a: each row times its own number.
     *
     * <p>Shapes: a [R, D], e [R, 1] -> [R, D]. Gradient: da = diag(e) dy, de = sum of a * dy over each row.
     */
    public static Tensor scaleRows(Tensor a, Tensor e) {
        Shape.require(
                a.shape().rank() == 2 && e.size() == a.dim(0), "scaleRows", a, e, "there must be one number per row");
        int rows = a.dim(0), columns = a.dim(1);
        float[] as = a.toArray(), es = e.toArray(), ys = new float[as.length];
        for (int i = 0; i < rows; i++) {
            for (int k = 0; k < columns; k++) {
                ys[i * columns + k] = es[i] * as[i * columns + k];
            }
        }
        Tensor y = Tensor.like(a);
        y.set(ys);
        return Tape.record(y, () -> scaleRowsGrad(y, a, e), a, e);
    }

    private static void scaleRowsGrad(Tensor y, Tensor a, Tensor e) {
        int rows = a.dim(0), columns = a.dim(1);
        float[] as = a.toArray(), es = e.toArray(), dy = y.grad().toArray();
        float[] da = new float[as.length], de = new float[rows];
        for (int i = 0; i < rows; i++) {
            double sum = 0;
            for (int k = i * columns; k < (i + 1) * columns; k++) {
                da[k] = es[i] * dy[k];
                sum += (double) as[k] * dy[k];
            }
            de[i] = (float) sum;
        }
        addGrad(a, da);
        addGrad(e, de);
    }

    /**
     * |a aT - 1|, the Frobenius norm, not squared: 0 if the rows are orthonormal. Sums are taken in double precision.
     *
     * <p>Shapes: a [R, D] -> [1]. Gradient: da = 2 dy / |a aT - 1| (a aT - 1) a, and zero where the norm is.
     */
    public static Tensor orthogonality(Tensor a) {
        return orthogonality(a, false);
    }

    /** |bT b - 1|: the same for columns. Shapes: b [D, R] -> [1]. */
    public static Tensor columnOrthogonality(Tensor b) {
        return orthogonality(b, true);
    }

    private static Tensor orthogonality(Tensor x, boolean columns) {
        Shape.require(
                x.shape().rank() == 2, columns ? "columnOrthogonality" : "orthogonality", x, "it must be a matrix");
        Vectors vectors =
                columns ? new Vectors(x.dim(1), x.dim(0), 1, x.dim(1)) : new Vectors(x.dim(0), x.dim(1), x.dim(1), 1);
        double[] apart = vectors.gramLessOne(x.toArray());
        double squares = 0;
        for (double g : apart) {
            squares += g * g;
        }
        double norm = Math.sqrt(squares);
        Tensor y = Tensor.of(new float[] {(float) norm}, 1);
        return Tape.record(
                y,
                () -> {
                    if (norm > 0) {
                        addGrad(
                                x,
                                vectors.times(apart, x.toArray(), 2 * y.grad().item() / norm));
                    }
                },
                x);
    }

    /** The rows or columns of a matrix: element k of vector i lies at {@code i vectorStride + k elementStride}. */
    private record Vectors(int count, int length, int vectorStride, int elementStride) {
        /** Products of all pairs, less 1 of each vector with itself: [count, count]. */
        double[] gramLessOne(float[] x) {
            double[] gram = new double[count * count];
            for (int i = 0; i < count; i++) {
                for (int j = 0; j <= i; j++) {
                    double sum = i == j ? -1 : 0;
                    for (int k = 0; k < length; k++) {
                        sum += (double) x[at(i, k)] * x[at(j, k)];
                    }
                    gram[i * count + j] = sum;
                    gram[j * count + i] = sum;
                }
            }
            return gram;
        }

        /** factor m x, laid out as x. */
        float[] times(double[] m, float[] x, double factor) {
            float[] y = new float[x.length];
            double[] sums = new double[length];
            for (int i = 0; i < count; i++) {
                java.util.Arrays.fill(sums, 0);
                for (int j = 0; j < count; j++) {
                    double mij = factor * m[i * count + j];
                    for (int k = 0; k < length; k++) {
                        sums[k] += mij * x[at(j, k)];
                    }
                }
                for (int k = 0; k < length; k++) {
                    y[at(i, k)] = (float) sums[k];
                }
            }
            return y;
        }

        private int at(int i, int k) {
            return i * vectorStride + k * elementStride;
        }
    }

    private static void addGrad(Tensor x, float[] d) {
        if (x.tracked()) {
            try (var _ = Memory.scope()) {
                Ops.addInPlace(x.grad(), Tensor.of(d, x.shape().dims()));
            }
        }
    }
}
