package anneal.peft;

import anneal.nn.Embedding;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.nn.Norm;
import java.util.Map;
import java.util.OptionalInt;

/**
 * Freezing: all of the last blocks is trained, all else stays frozen.
 *
 * <p>The gradient ends at the first trained block, so the blocks below cost no backward pass. The trained weights are copies in
 * floats beside the frozen ones, which come back when the adapters are disabled. PEFT has no such method: the file is of a type of ours,
 * "LAST_LAYERS", with the weights under their own names, so that a reader of plain weights needs to drop no more than the prefix. Lee, Tang
 * and Lin, arXiv:1911.03090 ("What would Elsa do?") measure what the number of blocks costs.
 *
 * @param count blocks that are trained
 * @param head the last norm and the output projection are trained too; not where the projection is the embedding
 * @param baseModel name or path of the base model, written into the file for its readers; may be null
 */
public record LastLayers(int count, boolean head, String baseModel) implements Method {
    /** A rate to begin with under AdamW: one usual for training a whole model (Taori et al., Alpaca, 2023). */
    public static final double LEARNING_RATE = 2e-5;

    public LastLayers {
        if (count < 1) {
            throw new IllegalArgumentException("LastLayers: count " + count + " must be at least 1");
        }
    }

    /** All but the last {@code count} blocks are frozen. */
    public static LastLayers of(int count) {
        return new LastLayers(count, false, null);
    }

    /** The last norm and the output projection are trained too. */
    public LastLayers andHead() {
        return new LastLayers(count, true, baseModel);
    }

    /**
     * The linear layers of a model that are trained, by path.
     *
     * @throws IllegalArgumentException if the model has fewer blocks
     */
    public Map<String, Linear> layers(Module root) {
        Map<String, Linear> linears = root.find(Linear.class);
        int blocks = blocks(linears);
        linears.keySet().removeIf(path -> !trained(path, blocks));
        return linears;
    }

    CopyTuning tuning(Module root) {
        Map<String, Norm> norms = root.find(Norm.class);
        int blocks = blocks(root.find(Linear.class));
        if (head) {
            requireOwnHead(root);
        }
        norms.keySet().removeIf(path -> !trained(path, blocks));
        return new CopyTuning(layers(root), norms, CopyTuning.Part.ALL, "");
    }

    private int blocks(Map<String, Linear> linears) {
        return Targets.requireBlocks(linears.keySet(), "LastLayers: count", count);
    }

    private boolean trained(String path, int blocks) {
        OptionalInt block = Targets.block(path);
        return block.isEmpty() ? head : block.getAsInt() >= blocks - count;
    }

    private static void requireOwnHead(Module root) {
        root.find(Embedding.class)
                .forEach((path, e) -> root.find(Linear.class).forEach((name, l) -> {
                    if (l.weight() == e.weight()) {
                        throw new IllegalArgumentException("LastLayers: " + name + " is the same matrix as " + path
                                + ", which is frozen; train the blocks alone");
                    }
                }));
    }
}
