package anneal.peft;

import anneal.kernels.F32Matrix;
import anneal.nn.DenseWeight;
import anneal.nn.Embedding;
import anneal.nn.LayerNorm;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.nn.Norm;
import anneal.nn.RmsNorm;
import anneal.nn.StoredWeight;
import anneal.nn.TransposedWeight;
import anneal.nn.Weight;
import anneal.tensor.DType;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;

/**
 * An embedding, some blocks with norms, and a head, with every storage a layer can have: trained floats, [in, out], and read in place
 * from a file.
 */
final class TinyModel extends Module {
    static final int D = 12, F = 18, V = 9;

    private static final int[] IDS = {3, 0, 8, 3, 5};

    private final List<Block> blocks = new ArrayList<>();
    private final Embedding embedding;
    private final Norm norm;
    private final Linear head;

    TinyModel(Arena arena, int blockCount) {
        this(arena, blockCount, false);
    }

    /** A model whose head may be the embedding's matrix. */
    TinyModel(Arena arena, int blockCount, boolean tied) {
        Rng rng = new Rng(7);
        embedding = child("model.embed_tokens", new Embedding(file(arena, new Rng(8), V, D)));
        for (int i = 0; i < blockCount; i++) {
            blocks.add(child("model.layers." + i, new Block(arena, rng)));
        }
        norm = child("model.norm", new LayerNorm(random(arena, rng, D), random(arena, rng, D), 1e-5f));
        head = child(
                "lm_head", new Linear(tied ? embedding.weight() : new DenseWeight(random(arena, rng, V, D)), null));
    }

    private static final class Block extends Module {
        private final Norm norm;
        private final Linear q;
        private final Linear v;
        private final Linear up;
        private final Linear down;

        Block(Arena arena, Rng rng) {
            norm = child("input_layernorm", new RmsNorm(random(arena, new Rng(9), D), 1e-5f));
            q = child("self_attn.q_proj", new Linear(new DenseWeight(random(arena, rng, D, D)), random(arena, rng, D)));
            v = child("self_attn.v_proj", new Linear(file(arena, rng, D, D), null));
            up = child("mlp.up_proj", new Linear(turned(arena, rng, F, D), random(arena, rng, F)));
            down = child("mlp.down_proj", new Linear(new TransposedWeight(file(arena, rng, F, D)), null));
        }

        Tensor forward(Tensor x) {
            Tensor n = Ops.add(x, norm.forward(x));
            Tensor h = Ops.mul(q.forward(n), v.forward(n));
            return Ops.add(x, down.forward(up.forward(h)));
        }
    }

    private static Tensor random(Arena arena, Rng rng, int... dims) {
        Tensor t = Tensor.allocate(arena, Shape.of(dims));
        float[] values = new float[(int) t.size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (0.2 * rng.nextGaussian());
        }
        t.set(values);
        return t;
    }

    private static Weight file(Arena arena, Rng rng, int rows, int columns) {
        return new StoredWeight(new F32Matrix(random(arena, rng, rows, columns).buf(), rows, columns), DType.F32);
    }

    private static Weight turned(Arena arena, Rng rng, int out, int in) {
        return new TransposedWeight(new DenseWeight(random(arena, rng, in, out)));
    }

    /** Logits of five fixed rows: [5, V]. */
    Tensor forward() {
        Rng rng = new Rng(70);
        float[] x = new float[5 * D];
        for (int i = 0; i < x.length; i++) {
            x[i] = (float) rng.nextGaussian();
        }
        Tensor h = Ops.add(Tensor.of(x, 5, D), embedding.forward(IDS));
        for (Block block : blocks) {
            h = block.forward(h);
        }
        return head.forward(Ops.add(h, norm.forward(h)));
    }
}
