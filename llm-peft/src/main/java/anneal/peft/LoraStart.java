package anneal.peft;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import anneal.tensor.Linalg;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.RoundOps;
import anneal.tensor.Tensor;
import java.util.function.UnaryOperator;

/**
 * First numbers of one layer's addition, by a {@link LoraInit}.
 *
 * @param a [rank, in]
 * @param b [out, rank]
 * @param base the matrix [out, in] that the layer gets, or null if it keeps its own
 */
record LoraStart(Tensor a, Tensor b, Tensor base) {
    /** Of every randomised search: the same subspace each time, so that loading finds the same matrices. */
    private static final long SEED = 42;

    /** Powers of the randomised search where PEFT uses 4. */
    private static final int POWERS = 4;

    /**
     * What an init that is not a {@link Lora.Init} gives. Results lie in the current scope.
     *
     * @param w the layer's matrix [out, in]
     * @param seen what data gave: A for {@link LoraInit.Eva}, else see {@link LoraData}; null where none is needed
     */
    static LoraStart of(LoraInit init, Tensor w, int rank, double scaling, Tensor seen) {
        return switch (init) {
            case Lora.Init _ -> throw new IllegalArgumentException(init + " needs no matrix");
            case LoraInit.Pissa(int iterations) ->
                pissa(
                        w,
                        iterations == LoraInit.Pissa.EXACT
                                ? Linalg.svd(w, rank)
                                : Linalg.randomizedSvd(w, rank, iterations, new Rng(SEED)),
                        scaling);
            case LoraInit.Olora() -> {
                Linalg.Qr qr = Linalg.qr(w);
                yield residual(w, firstRows(qr.r(), rank), Ops.columns(qr.q(), 0, rank), scaling);
            }
            case LoraInit.LoftQ q ->
                loftQ(w, rank, q.bits() == 4 ? x -> RoundOps.nf4(x, NF4_BLOCK) : LoraStart::int8, q.iterations());
            case LoraInit.Eva _ -> new LoraStart(seen, Tensor.zeros(w.dim(0), rank), null);
            case LoraInit.LoraGa ga -> gradient(ga, w, rank, scaling, seen);
        };
    }

    /** The base is what A and B leave of w. */
    private static LoraStart residual(Tensor w, Tensor a, Tensor b, double scaling) {
        Tensor rest = Tensor.like(w);
        rest.set(w);
        return new LoraStart(a, b, Ops.addMatmulTInPlace(rest, b, Linalg.transposed(a), (float) -scaling));
    }

    private static LoraStart pissa(Tensor w, Linalg.Svd svd, double scaling) {
        if (!(scaling > 0)) {
            throw new IllegalArgumentException(
                    "pissa: the scaling " + scaling + " must be positive, its root is taken");
        }
        LoraStart halves = halves(svd, scaling);
        return residual(w, halves.a, halves.b, scaling);
    }

    /** A = sqrt(S / by) VT, B = U sqrt(S / by). */
    private static LoraStart halves(Linalg.Svd svd, double by) {
        double[] roots = new double[svd.rank()];
        for (int i = 0; i < roots.length; i++) {
            roots[i] = Math.sqrt(svd.s().get(i) / by);
        }
        return new LoraStart(timesRows(svd.vt(), roots), timesColumns(svd.u(), roots), null);
    }

    // ---------------------------------------------------------------- LoftQ

    /** In turns: quantise what B A leaves of w, then the best B A for what quantising left. */
    static LoraStart loftQ(Tensor w, int rank, UnaryOperator<Tensor> quantised, int iterations) {
        Tensor rest = w.detach();
        for (int i = 1; ; i++) {
            Tensor base = quantised.apply(rest);
            LoraStart halves = halves(Linalg.svd(Ops.sub(w.detach(), base), rank), 1);
            if (i == iterations) {
                return new LoraStart(halves.a, halves.b, base);
            }
            rest = residual(w, halves.a, halves.b, 1).base;
        }
    }

    /** Numbers that share a scale in LoftQ's NF4, as in bitsandbytes' default. */
    static final int NF4_BLOCK = 64;

    /** w in steps of the largest of its row over 127, rounded to f16 first as bitsandbytes does. */
    private static Tensor int8(Tensor w) {
        float[] x = w.toArray();
        int columns = w.dim(1);
        for (int from = 0; from < x.length; from += columns) {
            float largest = 0;
            for (int i = from; i < from + columns; i++) {
                x[i] = Float.float16ToFloat(Float.floatToFloat16(x[i]));
                largest = Math.max(largest, Math.abs(x[i]));
            }
            for (int i = from; i < from + columns && largest > 0; i++) {
                x[i] = (float) Math.rint(x[i] * (127 / largest)) * largest * (1f / 127);
            }
        }
        return Tensor.of(x, w.dim(0), columns);
    }

    // ---------------------------------------------------------------- from data

    private static LoraStart gradient(LoraInit.LoraGa ga, Tensor w, int rank, double scaling, Tensor gradient) {
        int searched =
                Math.min(4 * rank, Math.min(w.dim(0), w.dim(1))); // as in PEFT: 2 rank alone are found less exactly
        Linalg.Svd svd = Linalg.randomizedSvd(gradient, searched, POWERS, new Rng(SEED));
        int[] forA = new int[rank], forB = new int[rank];
        for (int i = 0; i < rank; i++) {
            forA[i] = switch (ga.direction()) {
                case AR_B2R -> i;
                case A2R_BR -> rank + i;
                case AR_BR -> 2 * i + 1;
            };
            forB[i] = switch (ga.direction()) {
                case AR_B2R -> rank + i;
                case A2R_BR -> i;
                case AR_BR -> 2 * i;
            };
        }
        double largest = svd.s().get(forB[0]);
        double byA = ga.scale() == LoraInit.LoraGa.Scale.GD_SCALE ? 1 / scaling : 1;
        double byB = switch (ga.scale()) {
            case STABLE -> Math.pow(w.dim(0), 0.25) / Math.sqrt(ga.gamma());
            case WEIGHT_SVD -> largest > 0 ? Linalg.svd(w, 1).s().get(0) / largest : 1;
            case GD_SCALE -> byA;
            case UNIT -> 1;
        };
        double[] timesA = new double[rank], timesB = new double[rank];
        for (int i = 0; i < rank; i++) {
            timesA[i] = byA;
            timesB[i] = byB * svd.s().get(forB[i]);
        }
        Tensor a = timesRows(Ops.rows(svd.vt(), forA), timesA);
        Tensor b = timesColumns(Linalg.transposed(Ops.rows(Linalg.transposed(svd.u()), forB)), timesB);
        return residual(w, a, b, scaling);
    }

    // ---------------------------------------------------------------- small matrices

    private static Tensor firstRows(Tensor x, int rows) {
        Tensor y = Tensor.empty(rows, x.dim(1));
        y.buf().copyFrom(x.buf().asSlice(0, 4 * y.size()));
        return y;
    }

    private static Tensor timesRows(Tensor x, double[] factors) {
        Tensor y = Tensor.like(x);
        for (long i = 0; i < x.size(); i++) {
            y.buf().setAtIndex(JAVA_FLOAT, i, (float) (x.get(i) * factors[(int) (i / x.dim(1))]));
        }
        return y;
    }

    private static Tensor timesColumns(Tensor x, double[] factors) {
        Tensor y = Tensor.like(x);
        for (long i = 0; i < x.size(); i++) {
            y.buf().setAtIndex(JAVA_FLOAT, i, (float) (x.get(i) * factors[(int) (i % x.dim(1))]));
        }
        return y;
    }
}
