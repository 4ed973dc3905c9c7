package anneal.peft;

import anneal.nn.Activations;
import anneal.nn.Attention;
import anneal.nn.Embedding;
import anneal.nn.Module;
import anneal.tensor.Memory;
import anneal.tensor.Rng;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.util.List;
import java.util.function.IntUnaryOperator;
import java.util.stream.IntStream;

/** {@link PromptTuning} and {@link PTuning} in a model: vectors in front at the input embedding. */
final class PromptInModel extends VirtualTokens {
    private final Embedding embedding;
    private final Embedding.Plug plug;
    private final PromptTuning.Init init;
    private final Sizes sizes;

    /** @param init how a table starts; null if an encoder starts by itself */
    private PromptInModel(Module root, Embedding embedding, int count, PromptTuning.Init init, PromptEncoder encoder) {
        super(encoder);
        this.embedding = embedding;
        this.init = init;
        plug = new Front(encoder, count);
        List<Attention> layers = List.copyOf(root.find(Attention.class).values());
        int heads = layers.isEmpty() ? 1 : layers.getFirst().options().heads();
        sizes = new Sizes(embedding.weight().in(), heads, layers.size());
    }

    private record Front(PromptEncoder encoder, int frontLength) implements Embedding.Plug {
        @Override
        public Tensor front() {
            return encoder.vectors();
        }
    }

    static PromptInModel of(PromptTuning method, Module root) {
        Embedding embedding = input(root, "PromptTuning");
        int count = method.virtualTokens();
        return new PromptInModel(
                root,
                embedding,
                count,
                method.init(),
                new PromptTable(count, embedding.weight().in()));
    }

    /** With the network only if it is made new: a file holds what the network gave. */
    static PromptInModel of(PTuning method, Module root, boolean fresh) {
        Embedding embedding = input(root, "PTuning");
        int count = method.virtualTokens(), width = embedding.weight().in();
        PromptEncoder encoder = fresh ? network(method, width) : new PromptTable(count, width);
        return new PromptInModel(root, embedding, count, null, encoder);
    }

    private static PromptEncoder network(PTuning method, int width) {
        int count = method.virtualTokens(), size = method.hiddenSize() == 0 ? width : method.hiddenSize();
        return switch (method.encoder()) {
            case MLP ->
                new MlpPrompt(
                        LinearTuning.allocate(count, width),
                        new DenseStack("mlp_head", Activations.named("relu"), width, size, size, width));
            case LSTM -> new LstmPrompt(count, width, size, method.layers(), method.dropout());
        };
    }

    /** The table of the tokens: the first one of a model, in front of that of learnt positions. */
    private static Embedding input(Module root, String method) {
        return root.find(Embedding.class).values().stream()
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException(
                        method + ": the model has no input embedding to put vectors in front of"));
    }

    @Override
    Sizes sizes() {
        return sizes;
    }

    @Override
    public void init(Rng rng) {
        switch (init) {
            case null -> encoder().init(rng);
            case PromptTuning.Init.Random _ -> encoder().init(rng);
            case PromptTuning.Init.SampledVocabulary _ -> {
                int vocabulary = embedding.weight().out();
                rows(_ -> rng.nextInt(vocabulary));
            }
            case PromptTuning.Init.Text text -> {
                if (text.ids().isEmpty()) {
                    throw new IllegalArgumentException("PromptTuning: init from the text \"" + text.text()
                            + "\" needs the ids of its tokens, which no file holds; encode it with " + text.tokenizer()
                            + " and give them");
                }
                rows(i -> text.ids().get(i % text.ids().size()));
            }
        }
    }

    /** Fills the table with vectors of the vocabulary: row i with that of token id(i). */
    private void rows(IntUnaryOperator id) {
        int[] ids = IntStream.range(0, plug.frontLength()).map(id).toArray();
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            encoder().vectors().set(embedding.weight().rows(ids));
        }
    }

    @Override
    public List<String> paths() {
        return List.of(embedding.path());
    }

    @Override
    public void plug(boolean in) {
        if (in) {
            requireFree(embedding.plug() == Embedding.Plug.NONE, embedding.path(), "trained vectors");
        }
        embedding.plug(in ? plug : Embedding.Plug.NONE);
    }
}
