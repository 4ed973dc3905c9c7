package anneal.tensor;

import anneal.kernels.F32Matrix;
import anneal.kernels.Kernels;
import anneal.kernels.Matrix;

/**
 * Training inside a subspace: what passes through is unchanged, and its gradient keeps no part of a span. Then a plain step of the
 * optimiser stays in the subspace; one that scales each number by its own factor, as Adam's, nearly does.
 */
public final class SubspaceOps {
    private static final Kernels K = Kernels.get();

    private SubspaceOps() {}

    /**
     * Some directions, and what becomes of a gradient's part along them.
     *
     * @param basis orthonormal rows [K, D]
     * @param keep true: only that part is kept; false: it is taken out
     */
    public record Span(Tensor basis, boolean keep) {
        public Span {
            Shape.require(basis.shape().rank() == 2, "Span", basis, "the basis must be a matrix of rows");
        }
    }

    /**
     * y = x, a copy.
     *
     * <p>Shapes: x [R, D], basis [K, D]. Gradient: with P = basisT basis, dx = dy P if the span is kept, dy - dy P if it is taken out.
     */
    public static Tensor rowsWithin(Tensor x, Span span) {
        require("rowsWithin", x, span, x.shape().rank() == 2 ? x.dim(1) : -1);
        return projected(x, span, false);
    }

    /**
     * y = x, a copy: the same for columns.
     *
     * <p>Shapes: x [D, R], basis [K, D]. Gradient: dx = P dy, or dy - P dy.
     */
    public static Tensor columnsWithin(Tensor x, Span span) {
        require("columnsWithin", x, span, x.shape().rank() == 2 ? x.dim(0) : -1);
        return projected(x, span, true);
    }

    private static void require(String op, Tensor x, Span span, int length) {
        Shape.require(
                span.basis.dim(1) == length,
                op,
                x,
                span.basis,
                "rows of the basis must be as long as what is projected");
    }

    private static Tensor projected(Tensor x, Span span, boolean columns) {
        Tensor y = Tensor.like(x);
        y.set(x);
        return Tape.record(
                y,
                () -> {
                    try (var _ = Memory.scope()) {
                        Tensor dy = y.grad(), along = columns ? columnsAlong(dy, span.basis) : along(dy, span.basis);
                        if (!span.keep) {
                            Ops.addGrad(x, dy.buf(), 1);
                        }
                        Ops.addGrad(x, along.buf(), span.keep ? 1 : -1);
                    }
                },
                x);
    }

    /** g basisT basis. In f32 whatever the tape computes in: a gradient that is only nearly orthogonal forgets. */
    private static Tensor along(Tensor g, Tensor basis) {
        Matrix rows = new F32Matrix(basis.buf(), basis.dim(0), basis.dim(1));
        Tensor inBasis = Tensor.empty(g.dim(0), basis.dim(0)), y = Tensor.like(g);
        K.matmulT(inBasis.buf(), g.buf(), rows, g.dim(0), 1f, false);
        K.matmul(y.buf(), inBasis.buf(), rows, g.dim(0), 1f, false);
        return y;
    }

    /** basisT basis g. */
    private static Tensor columnsAlong(Tensor g, Tensor basis) {
        Tensor inBasis = Tensor.empty(basis.dim(0), g.dim(1)), y = Tensor.like(g);
        K.matmul(inBasis.buf(), basis.buf(), new F32Matrix(g.buf(), g.dim(0), g.dim(1)), basis.dim(0), 1f, false);
        K.matmulTN(y.buf(), basis.buf(), inBasis.buf(), g.dim(0), g.dim(1), basis.dim(0), 1f, false);
        return y;
    }
}
