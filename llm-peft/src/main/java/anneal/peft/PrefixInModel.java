package anneal.peft;

import anneal.nn.Activations;
import anneal.nn.Attention;
import anneal.nn.Module;
import anneal.tensor.Memory;
import anneal.tensor.Rng;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.util.List;

/** {@link PrefixTuning} in a model: keys and values in front, at every attention layer. */
final class PrefixInModel extends VirtualTokens {
    private final PrefixTuning method;
    private final List<Attention> layers;
    private final int width;

    private PrefixInModel(PrefixTuning method, List<Attention> layers, int width, PromptEncoder encoder) {
        super(encoder);
        this.method = method;
        this.layers = layers;
        this.width = width;
    }

    /** With the projection only if it is made new: a file holds what the projection gave. */
    static PrefixInModel of(PrefixTuning method, Module root, boolean fresh) {
        List<Attention> layers = List.copyOf(root.find(Attention.class).values());
        if (layers.isEmpty()) {
            throw new IllegalArgumentException("PrefixTuning: the model has no attention layer to put a prefix in");
        }
        int width = width(layers.getFirst());
        for (Attention layer : layers) {
            if (width(layer) != width) {
                throw new IllegalArgumentException("PrefixTuning: " + layer.path() + " has keys of " + width(layer)
                        + " numbers, " + layers.getFirst().path() + " of " + width + "; all must be equally wide");
            }
        }
        int all = 2 * layers.size() * width, count = method.virtualTokens();
        PromptEncoder encoder = method.projection() == 0 || !fresh
                ? new PromptTable(count, all)
                : new MlpPrompt(
                        LinearTuning.allocate(count, width),
                        new DenseStack("transform", Activations.named("tanh"), width, method.projection(), all));
        return new PrefixInModel(method, layers, width, encoder);
    }

    private static int width(Attention a) {
        return a.options().kvHeads() * a.options().headDim();
    }

    /** The part of one layer. */
    private record Part(PromptEncoder encoder, int layer, int length, int width) implements Attention.Prefix {
        @Override
        public Tensor keys() {
            return encoder.columns(2 * layer * width, width);
        }

        @Override
        public Tensor values() {
            return encoder.columns((2 * layer + 1) * width, width);
        }
    }

    @Override
    Sizes sizes() {
        return new Sizes(width, layers.getFirst().options().kvHeads(), layers.size());
    }

    @Override
    public void init(Rng rng) {
        encoder().init(rng);
        if (method.init() == PrefixTuning.Init.ZERO_VALUES) {
            switch (encoder()) {
                case PromptTable(Tensor table) -> {
                    Inits.normal(table, PrefixTuning.KEY_DEVIATION, rng);
                    zeroValues(table, 1);
                }
                case MlpPrompt mlp -> {
                    Tensor w = mlp.stack().lastWeight();
                    zeroValues(w, w.dim(1));
                    zeroValues(mlp.stack().lastBias(), 1);
                }
                default -> throw new AssertionError("a prefix has no other encoder");
            }
        }
    }

    /** Zeros what makes a value: of each 2 width columns the second half, each column {@code run} numbers that stand together. */
    private void zeroValues(Tensor x, int run) {
        float[] numbers = x.toArray();
        for (int i = 0; i < numbers.length; i++) {
            if (i / run / width % 2 == 1) {
                numbers[i] = 0;
            }
        }
        x.set(numbers);
    }

    @Override
    public List<String> paths() {
        return layers.stream().map(Module::path).toList();
    }

    @Override
    public void plug(boolean in) {
        if (in) {
            layers.forEach(layer -> requireFree(layer.prefix() == null, layer.path(), "a prefix"));
        }
        try (var _ = Memory.scope();
                var _ = Tape.pause()) { // the socket looks at keys and values once, to check their width
            for (int i = 0; i < layers.size(); i++) {
                layers.get(i).prefix(in ? new Part(encoder(), i, method.virtualTokens(), width) : null);
            }
        }
    }
}
