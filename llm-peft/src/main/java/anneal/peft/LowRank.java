package anneal.peft;

import anneal.tensor.Linalg;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/**
 * An update of low rank as numbers: B A.
 *
 * @param a [rank, in]
 * @param b [out, rank]
 */
record LowRank(float[] a, float[] b, int out, int rank, int in) {
    private static final String A = ".lora_A.weight", B = ".lora_B.weight";

    /** The factors of a plain LoRA at one layer. */
    static LowRank of(Adapters adapters, String path) {
        Tensor a = adapters.parameters().get(path + A),
                b = adapters.parameters().get(path + B);
        return new LowRank(a.toArray(), b.toArray(), b.dim(0), a.dim(0), a.dim(1));
    }

    /** Throws unless these adapters are pairs of A and B at linear layers and nothing else. */
    static void requirePlain(String name, Adapters adapters) {
        if (!(adapters.method() instanceof Lora)) {
            throw new IllegalArgumentException("combine: " + name + " is "
                    + adapters.method().getClass().getSimpleName() + "; only LoRA adapters can be combined");
        }
        Set<String> stored = adapters.tuning().stored().keySet();
        for (String parameter : stored) {
            if (!parameter.endsWith(A) && !parameter.endsWith(B)) {
                throw new IllegalArgumentException("combine: " + name + " has " + parameter
                        + ", of which there is no weighted sum; only A and B of linear layers can be combined");
            }
        }
    }

    /** factor B A [out, in], row-major. */
    float[] product(double factor) {
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            Tensor product = Ops.matmul(Tensor.of(b, out, rank), Tensor.of(a, rank, in));
            return Ops.scale(product, (float) factor).toArray();
        }
    }

    /** The matrix of at most this rank that is nearest to x [out, in]: B = U diag(s), A = Vt of its first singular values. */
    static LowRank nearest(float[] x, int out, int in, int most) {
        int r = Math.min(most, Math.min(out, in));
        try (var _ = Memory.scope()) {
            return of(Linalg.svd(Tensor.of(x, out, in), r));
        }
    }

    /**
     * The nearest of at most this rank, without ever holding [out, in]: B = Qb Rb, At = Qa Ra, and the singular values of B A are those
     * of the small Rb Rat.
     */
    LowRank truncated(int most) {
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            Linalg.Qr left = Linalg.qr(Tensor.of(b, out, rank));
            Linalg.Qr right = Linalg.qr(Linalg.transposed(Tensor.of(a, rank, in)));
            Linalg.Svd core = Linalg.svd(Ops.matmulT(left.r(), right.r()));
            core = core.truncated(Math.min(most, core.rank()));
            return of(new Linalg.Svd(Ops.matmul(left.q(), core.u()), core.s(), Ops.matmulT(core.vt(), right.q())));
        }
    }

    private static LowRank of(Linalg.Svd svd) {
        int r = svd.rank(), out = svd.u().dim(0), in = svd.vt().dim(1);
        float[] b = svd.u().toArray();
        for (int i = 0; i < b.length; i++) {
            b[i] *= svd.s().get(i % r);
        }
        return new LowRank(svd.vt().toArray(), b, out, r, in);
    }

    /** B = U sqrt(s), A = sqrt(s) Vt: factors of equal size, which train on better than those of {@link #of(Linalg.Svd)}. */
    static LowRank balanced(Linalg.Svd svd) {
        LowRank ab = of(svd);
        for (int i = 0; i < ab.a.length; i++) {
            ab.a[i] *= (float) Math.sqrt(svd.s().get(i / ab.in));
        }
        for (int i = 0; i < ab.b.length; i++) {
            float s = svd.s().get(i % ab.rank);
            ab.b[i] = s == 0 ? 0 : ab.b[i] / (float) Math.sqrt(s);
        }
        return ab;
    }

    /** A LoRA with scaling 1 of these layers. */
    static Combination.Result lora(Map<String, LowRank> layers, String baseModel) {
        int most = Collections.max(layers.values().stream().map(LowRank::rank).toList());
        Lora.Builder options = Lora.rank(most)
                .alpha(most)
                .on(layers.keySet().toArray(String[]::new))
                .baseModel(baseModel);
        Map<String, float[]> numbers = new LinkedHashMap<>();
        layers.forEach((path, ab) -> {
            if (ab.rank != most) {
                options.rankOf(path, ab.rank).alphaOf(path, ab.rank);
            }
            numbers.put(path + A, ab.a);
            numbers.put(path + B, ab.b);
        });
        return new Combination.Result(options.build(), numbers);
    }
}
