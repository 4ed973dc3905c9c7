package anneal.peft;

import anneal.nn.Adapter;
import anneal.nn.Linear;
import anneal.nn.TransposedWeight;
import anneal.nn.Weight;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Shape;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;

/** The addition of one layer: scaling x At Bt, in the memory of the layer's own output. */
final class LoraLayer implements Adapter {
    private final Linear base;
    private final Tensor a;
    private final Tensor b;
    private final float scaling;
    private final float dropout;
    /** What stands in the layer when nothing is merged. */
    private final Weight own;

    LoraLayer(Linear base, int rank, double scaling, double dropout) {
        this.base = base;
        this.own = base.weight();
        this.scaling = (float) scaling;
        this.dropout = (float) dropout;
        // Freed when nothing refers to them: a handle on adapters needs no close.
        this.a = Tensor.allocate(Arena.ofAuto(), Shape.of(rank, base.in()));
        this.b = Tensor.allocate(Arena.ofAuto(), Shape.of(base.out(), rank));
    }

    @Override
    public Tensor apply(Tensor x, Linear layer) {
        Tensor z = Ops.dropout(x, dropout);
        if (layer.weight().parameter().filter(Tensor::tracked).isPresent()) {
            return Ops.addMatmulTInPlace(layer.plain(x), Ops.matmulT(z, a), b, scaling);
        }
        return layer.biased(Ops.matmulTLowRank(x, layer.weight().matrix(), z, a, b, scaling));
    }

    void init(Lora.Init how, Rng rng) {
        switch (how) {
            case KAIMING -> uniform(a, a.dim(1), rng);
            case GAUSSIAN -> {
                float[] values = new float[Math.toIntExact(a.size())];
                for (int i = 0; i < values.length; i++) {
                    values[i] = (float) (rng.nextGaussian() / a.dim(0));
                }
                a.set(values);
            }
            case RANDOM -> {
                uniform(a, a.dim(1), rng);
                uniform(b, b.dim(1), rng);
            }
        }
    }

    /** Kaiming's bound sqrt(6 / ((1 + 5) fanIn)). */
    private static void uniform(Tensor x, int fanIn, Rng rng) {
        double bound = 1 / Math.sqrt(fanIn);
        float[] values = new float[Math.toIntExact(x.size())];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) ((2 * rng.nextDouble() - 1) * bound);
        }
        x.set(values);
    }

    Tensor a() {
        return a;
    }

    Tensor b() {
        return b;
    }

    void plug(boolean on) {
        base.adapter(on ? this : Adapter.NONE);
    }

    /** True if the numbers of the layer are read as they stand in a quantised or shorter form. */
    boolean widensWhenMerged() {
        return own.parameter().isEmpty();
    }

    String format() {
        return own.format();
    }

    boolean transposed() {
        return own instanceof TransposedWeight;
    }

    /** Gives the layer a copy of its matrix, as floats, with the addition in it, and takes the adapter out. */
    void merge() {
        Weight dense = own.dense(Arena.ofAuto());
        Tensor w = dense.parameter().orElseThrow();
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            Tensor aT = transposed(a);
            if (dense instanceof TransposedWeight) {
                Ops.addMatmulTInPlace(w, aT, b, scaling); // [in, out] += At Bt
            } else {
                Ops.addMatmulTInPlace(w, b, aT, scaling); // [out, in] += B A
            }
        }
        base.weight(dense);
        plug(false);
    }

    /** Puts the layer's own weight back, bit for bit, and the adapter in. */
    void unmerge() {
        base.weight(own);
        plug(true);
    }

    private static Tensor transposed(Tensor x) {
        int rows = x.dim(0), columns = x.dim(1);
        float[] from = x.toArray(), to = new float[from.length];
        for (int i = 0; i < rows; i++) {
            for (int j = 0; j < columns; j++) {
                to[j * rows + i] = from[i * columns + j];
            }
        }
        return Tensor.of(to, columns, rows);
    }
}
