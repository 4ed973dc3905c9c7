package anneal.peft;

import anneal.tensor.Rng;
import anneal.tensor.Tensor;
import java.util.Map;

/** The vectors themselves are trained. */
record PromptTable(Tensor vectors) implements PromptEncoder {
    PromptTable(int count, int width) {
        this(LinearTuning.allocate(count, width));
    }

    @Override
    public Map<String, Tensor> parameters() {
        return Map.of("embedding.weight", vectors);
    }

    @Override
    public void init(Rng rng) {
        Inits.normal(vectors, 1, rng);
    }
}
