package anneal.quant.post;

import anneal.nn.Module;
import anneal.nn.SubLayer;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Passes over one text, each to a later sub-layer than the one before: a pass starts from the stream that the last one kept, and leaves
 * out what stands behind its own. Measuring all sub-layers in turn costs two passes in place of one for each.
 *
 * <p>Memory: one stream, [tokens, D] floats, and the next while it is made.
 */
final class Relay implements AutoCloseable {
    private final Map<String, SubLayer> layers;
    private final List<SubLayer> order;
    private final Runnable forward;
    private int reached;
    private Arena arena = Arena.ofShared();
    private List<Tensor> streams;

    /** Passes of {@code forward}, which does the same each time. */
    Relay(Module root, Runnable forward) {
        this.layers = root.find(SubLayer.class);
        this.order = List.copyOf(layers.values());
        this.forward = forward;
    }

    /**
     * Runs as far as the sub-layer in which a layer lies, which must not stand before that of the last call: what stands before that
     * one is as it was. The whole model if the layer lies in none.
     */
    void to(String path) {
        SubLayer target = layers.entrySet().stream()
                .filter(e -> path.startsWith(e.getKey() + "."))
                .map(Map.Entry::getValue)
                .findFirst()
                .orElse(null);
        if (target == null) {
            forward.run();
            return;
        }
        through(target, target);
    }

    /** Runs from the first sub-layer through the last, with the text's stream before the first one; as {@link #to(String)}. */
    void through(SubLayer first, SubLayer last) {
        run(order.indexOf(first), order.indexOf(last));
    }

    private void run(int first, int last) {
        if (first < reached) {
            throw new IllegalStateException("relay: " + order.get(first).path() + " stands before "
                    + order.get(reached).path() + ", which was reached already");
        }
        boolean keep = streams == null || first > reached;
        Arena next = keep ? Arena.ofShared() : arena;
        List<Tensor> kept = keep ? new ArrayList<>() : streams;
        Map<SubLayer, SubLayer.Around> before = new LinkedHashMap<>();
        boolean done = false;
        try {
            for (int i = 0; i < order.size(); i++) {
                SubLayer layer = order.get(i);
                SubLayer.Around own = layer.around();
                before.put(layer, own);
                if (i < reached || i > last) {
                    layer.around((x, self) -> x);
                    continue;
                }
                SubLayer.Around here = keep && i == first ? keeping(own, kept, next) : own;
                layer.around(i == reached && streams != null ? from(streams.iterator(), here) : here);
            }
            forward.run();
            done = true;
        } finally {
            before.forEach(SubLayer::around);
            if (keep) {
                (done ? arena : next).close();
            }
        }
        arena = next;
        streams = kept;
        reached = first;
    }

    private static SubLayer.Around keeping(SubLayer.Around own, List<Tensor> kept, Arena arena) {
        return (x, layer) -> {
            Tensor copy = Tensor.allocate(arena, x.shape());
            copy.set(x);
            kept.add(copy);
            return own.apply(x, layer);
        };
    }

    private static SubLayer.Around from(Iterator<Tensor> streams, SubLayer.Around own) {
        return (x, layer) -> own.apply(streams.next(), layer);
    }

    @Override
    public void close() {
        arena.close();
    }
}
