package anneal.distill;

import anneal.model.Decoder;
import anneal.nn.SubLayer.Hook;
import anneal.tensor.DistillOps.Heads;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.function.Supplier;

/**
 * What passes through some blocks of a model while it computes: the stream behind a block, queries and keys of its attention.
 *
 * <p>While nothing is recorded a block's tensors die with the block, so their numbers are copied.
 */
final class Inside {
    private final Map<Integer, Supplier<Tensor>> hidden = new HashMap<>();
    private final Map<Integer, Supplier<Heads>> heads = new HashMap<>();

    /** Runs a model and looks at these blocks of it. */
    static Inside look(Decoder model, Set<Integer> hiddenOf, Set<Integer> headsOf, Runnable run) {
        Inside seen = new Inside();
        Map<Integer, Hook> before = new HashMap<>();
        for (int layer : hiddenOf) {
            Hook own = model.feedForward(layer).after();
            before.put(layer, own);
            model.feedForward(layer).after((output, input) -> {
                Tensor y = own.apply(output, input);
                seen.hidden.put(layer, kept(y));
                return y;
            });
        }
        headsOf.forEach(layer -> model.attention(layer).watchHeads(h -> seen.heads.put(layer, kept(h))));
        try {
            run.run();
        } finally {
            before.forEach((layer, hook) -> model.feedForward(layer).after(hook));
            headsOf.forEach(layer -> model.attention(layer).watchHeads(null));
        }
        return seen;
    }

    private static Supplier<Tensor> kept(Tensor x) {
        if (Tape.recording()) {
            return () -> x;
        }
        float[] numbers = x.toArray();
        int[] dims = x.shape().dims();
        return () -> Tensor.of(numbers, dims);
    }

    private static Supplier<Heads> kept(Heads h) {
        Supplier<Tensor> q = kept(h.q()), k = kept(h.k());
        return () -> h.with(q.get(), k.get());
    }

    /** The stream behind a block [B, T, D]. */
    Tensor hidden(int layer) {
        return hidden.get(layer).get();
    }

    /** What a block's attention was made of. */
    Heads heads(int layer) {
        return heads.get(layer).get();
    }
}
