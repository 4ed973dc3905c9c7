package anneal.peft;

import anneal.nn.LayerWatch;
import anneal.tensor.Memory;
import anneal.tensor.Rng;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A method that puts P trained vectors in front of a text: what is trained is the encoder, what is saved is what it gives. */
abstract class VirtualTokens implements Tuning {
    private final PromptEncoder encoder;

    VirtualTokens(PromptEncoder encoder) {
        this.encoder = encoder;
    }

    final PromptEncoder encoder() {
        return encoder;
    }

    /** What a file says of the model that the vectors are for. */
    abstract Sizes sizes();

    /**
     * Sizes in PEFT's words.
     *
     * @param tokenDim "token_dim": numbers of a vector, for a prefix those of one key
     * @param heads "num_attention_heads": heads that share them
     * @param layers "num_layers"
     */
    record Sizes(int tokenDim, int heads, int layers) {}

    @Override
    public final Map<String, Tensor> parameters() {
        Map<String, Tensor> all = new LinkedHashMap<>();
        encoder.parameters().forEach((end, p) -> all.put("prompt_encoder." + end, p));
        return all;
    }

    /** The vectors [P, W]: the table itself, or what the encoder makes now, without dropout. */
    @Override
    public final Map<String, Tensor> stored() {
        return Map.of("prompt_embeddings", encoder instanceof PromptTable(Tensor table) ? table : now());
    }

    private Tensor now() {
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            Tensor made = encoder.vectors();
            Tensor kept = LinearTuning.allocate(made.shape().dims());
            kept.set(made);
            return kept;
        }
    }

    @Override
    public void init(Rng rng) {
        encoder.init(rng);
    }

    /** Refuses a place that is taken. */
    static void requireFree(boolean free, String path, String what) {
        if (!free) {
            throw new IllegalArgumentException("attach: " + path + " already has " + what);
        }
    }

    @Override
    public final List<String> merge(LayerWatch watch) {
        throw new UnsupportedOperationException("merge: vectors in front of a text change no weight,"
                + " so they cannot become part of one; keep the adapter beside the model");
    }
}
