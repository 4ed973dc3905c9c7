package anneal.peft;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import anneal.nn.Linear;
import anneal.nn.Weight;
import anneal.tensor.ColumnOps;
import anneal.tensor.Linalg;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The addition of one layer: scaling x At Bt, in the memory of the layer's own output. With DoRA each output is then given the length
 * that {@code magnitude} says.
 */
final class LoraLayer implements LayerAdapter {
    /** Rows of a weight that are widened at a time to measure them. */
    private static final int ROWS = 256;

    private final Lora.Init init;
    private final Tensor a;
    private final Tensor b;
    private final Tensor magnitude;
    private final float scaling;
    private final float dropout;

    /** The weight that was measured, and the squares of its rows. */
    private Weight measured;

    private double[] squares;

    LoraLayer(Linear base, Lora lora, String path) {
        int rank = lora.rank(path);
        init = lora.init() instanceof Lora.Init plain ? plain : Lora.Init.KAIMING;
        scaling = (float) lora.scaling(path);
        dropout = (float) lora.dropout();
        a = LinearTuning.allocate(rank, base.in());
        b = LinearTuning.allocate(base.out(), rank);
        magnitude = lora.dora() ? LinearTuning.allocate(base.out()) : null;
    }

    @Override
    public Tensor apply(Tensor x, Linear base, Inner inner) {
        Tensor z = Ops.dropout(x, dropout);
        if (magnitude != null) {
            Tensor adapted =
                    ColumnOps.rescaleColumns(product(x, z, base, a, b, scaling), magnitude, norms(base.weight()));
            return inner == null
                    ? base.biased(adapted)
                    : Ops.addInPlace(
                            inner.forward(x), Ops.sub(adapted, base.weight().matmulT(x)));
        }
        return plusLowRank(x, z, base, inner, a, b, scaling);
    }

    /** The layer's output, or that of what is inside, plus scaling z At Bt. */
    static Tensor plusLowRank(Tensor x, Tensor z, Linear base, Inner inner, Tensor a, Tensor b, float scaling) {
        return inner == null
                ? base.biased(product(x, z, base, a, b, scaling))
                : Ops.addMatmulTInPlace(inner.forward(x), Ops.matmulT(z, a), b, scaling);
    }

    /** x Wt + scaling z At Bt without the bias: in one product where W is neither trained nor multiplied in a way of its own. */
    private static Tensor product(Tensor x, Tensor z, Linear base, Tensor a, Tensor b, float scaling) {
        Weight w = base.weight();
        return !w.exact() || w.parameter().filter(Tensor::tracked).isPresent()
                ? Ops.addMatmulTInPlace(w.matmulT(x), Ops.matmulT(z, a), b, scaling)
                : Ops.matmulTLowRank(x, w.matrix(), z, a, b, scaling);
    }

    // ---------------------------------------------------------------- DoRA

    /**
     * Lengths of the rows of W + scaling B A [out], without making that matrix: |W|^2 + 2 scaling (W At) B + scaling^2 B (A At) B, row by
     * row. A row of zeros counts as of length 1. A constant: nothing is differentiated.
     */
    private Tensor norms(Weight weight) {
        measure(weight);
        Tensor norms = Tensor.empty(b.dim(0));
        try (var _ = Tape.pause()) {
            Tensor weightA = Ops.matmulT(a, weight.matrix()), bAA = Ops.matmulT(b, Ops.matmulT(a, a));
            int out = b.dim(0), rank = b.dim(1);
            for (int i = 0; i < out; i++) {
                double sum = squares[i];
                for (int r = 0; r < rank; r++) {
                    double bir = b.get((long) i * rank + r);
                    sum += scaling
                            * bir
                            * (2.0 * weightA.get((long) r * out + i) + scaling * bAA.get((long) i * rank + r));
                }
                norms.buf().setAtIndex(JAVA_FLOAT, i, sum > 0 ? (float) Math.sqrt(sum) : 1);
            }
        }
        return norms;
    }

    private void measure(Weight weight) {
        if (weight == measured && weight.parameter().filter(Tensor::tracked).isEmpty()) {
            return;
        }
        measured = weight;
        squares = new double[weight.out()];
        for (int from = 0; from < squares.length; from += ROWS) {
            int[] ids = new int[Math.min(ROWS, squares.length - from)];
            for (int i = 0; i < ids.length; i++) {
                ids[i] = from + i;
            }
            try (var _ = Memory.scope();
                    var _ = Tape.pause()) {
                Tensor rows = weight.rows(ids);
                for (long i = 0; i < rows.size(); i++) {
                    squares[from + (int) (i / weight.in())] += (double) rows.get(i) * rows.get(i);
                }
            }
        }
    }

    /** Gives each output the length that it has with A and B as they are. */
    void startMagnitude(Weight weight) {
        if (magnitude != null) {
            try (var _ = Memory.scope()) {
                magnitude.set(norms(weight));
            }
        }
    }

    // ---------------------------------------------------------------- numbers

    @Override
    public Map<String, Tensor> parameters() {
        Map<String, Tensor> all = new LinkedHashMap<>();
        all.put("lora_A.weight", a);
        all.put("lora_B.weight", b);
        if (magnitude != null) {
            all.put("lora_magnitude_vector", magnitude);
        }
        return all;
    }

    @Override
    public void init(Rng rng) {
        switch (init) {
            case KAIMING -> Inits.kaiming(a, rng);
            case GAUSSIAN -> Inits.normal(a, 1.0 / a.dim(0), rng);
            case RANDOM -> {
                Inits.kaiming(a, rng);
                Inits.kaiming(b, rng);
            }
        }
    }

    /** Begins with these numbers. */
    void start(Tensor firstA, Tensor firstB) {
        a.set(firstA);
        b.set(firstB);
    }

    Tensor a() {
        return a;
    }

    Tensor b() {
        return b;
    }

    @Override
    public void mergeInto(Tensor w, Tensor bias) {
        Ops.addMatmulTInPlace(w, b, Linalg.transposed(a), scaling); // [out, in] += B A
        if (magnitude == null) {
            return;
        }
        int in = w.dim(1);
        for (int i = 0; i < w.dim(0); i++) {
            double sum = 0;
            for (int j = 0; j < in; j++) {
                double x = w.get((long) i * in + j);
                sum += x * x;
            }
            double factor = sum > 0 ? magnitude.get(i) / Math.sqrt(sum) : 0;
            for (int j = 0; j < in; j++) {
                long at = (long) i * in + j;
                w.buf().setAtIndex(JAVA_FLOAT, at, (float) (w.get(at) * factor));
            }
        }
    }
}
