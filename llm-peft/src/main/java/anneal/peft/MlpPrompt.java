package anneal.peft;

import anneal.tensor.Rng;
import anneal.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.Map;

/** A small table behind a feed-forward network: vectors = stack(embedding). */
record MlpPrompt(Tensor embedding, DenseStack stack) implements PromptEncoder {
    @Override
    public Tensor vectors() {
        return stack.forward(embedding);
    }

    @Override
    public Tensor columns(int from, int count) {
        return stack.columns(embedding, from, count);
    }

    @Override
    public Map<String, Tensor> parameters() {
        Map<String, Tensor> all = new LinkedHashMap<>();
        all.put("embedding.weight", embedding);
        all.putAll(stack.parameters());
        return all;
    }

    @Override
    public void init(Rng rng) {
        Inits.normal(embedding, 1, rng.fork(0));
        stack.init(rng.fork(1));
    }
}
