package anneal.quant.calibrate;

import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.nn.SubLayer;
import java.util.Map;
import java.util.function.Predicate;

/**
 * Which linear layers of a model are meant.
 *
 * <p>Those inside an {@code Attention} or {@code FeedForward}: they hold nearly all the numbers. The output head stays as it is: it is
 * small in large models, often the embedding itself, and its errors go straight into the logits. A tree without such blocks means
 * all its linear layers.
 */
public final class Layers {
    private Layers() {}

    /**
     * Linear layers by path.
     *
     * @param which paths that are wanted
     * @throws IllegalArgumentException if none is left
     */
    public static Map<String, Linear> of(Module root, Predicate<String> which) {
        Map<String, SubLayer> blocks = root.find(SubLayer.class);
        Map<String, Linear> layers = root.find(Linear.class);
        int all = layers.size();
        layers.keySet()
                .removeIf(path -> !which.test(path)
                        || !blocks.isEmpty() && blocks.keySet().stream().noneMatch(b -> path.startsWith(b + ".")));
        if (layers.isEmpty()) {
            throw new IllegalArgumentException("quantise: none of the " + all + " linear layers is chosen"
                    + (all == 0
                            ? ""
                            : ", for example "
                                    + root.find(Linear.class)
                                            .keySet()
                                            .iterator()
                                            .next()));
        }
        return layers;
    }
}
