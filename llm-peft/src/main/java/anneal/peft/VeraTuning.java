package anneal.peft;

import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.tensor.Ops;
import anneal.tensor.Shape;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** {@link Vera} in a model: a {@link VeraLayer} at each target, and the pair of matrices that they share. */
final class VeraTuning extends LinearTuning {
    /** A and B of all layers. */
    static final class Projection {
        private final Tensor a;
        private final Tensor b;
        /** A for narrower layers: its first columns do not lie together, so they are copied, once for a width. */
        private final Map<Integer, Tensor> narrow = new ConcurrentHashMap<>();

        Projection(Vera vera, Map<String, Linear> targets) {
            int in = targets.values().stream().mapToInt(Linear::in).max().orElseThrow();
            int out = targets.values().stream().mapToInt(Linear::out).max().orElseThrow();
            a = allocate(vera.rank(), in);
            b = allocate(out, vera.rank());
            TorchRandom random = new TorchRandom(vera.projectionKey());
            // Kaiming's bound sqrt(6 / fanIn).
            random.uniform(a, Math.sqrt(3.0) * (Math.sqrt(2) / Math.sqrt(in)));
            random.uniform(b, Math.sqrt(3.0) * (Math.sqrt(2) / Math.sqrt(vera.rank())));
        }

        /** The first columns of A: [rank, in]. */
        Tensor a(int in) {
            return in == a.dim(1) ? a : narrow.computeIfAbsent(in, this::cut);
        }

        private Tensor cut(int in) {
            Tensor first = allocate(a.dim(0), in);
            try (var _ = Tape.pause()) {
                first.set(Ops.columns(a, 0, in));
            }
            return first;
        }

        /** The first rows of B: [out, rank], in its own memory. */
        Tensor b(int out) {
            return Tensor.wrap(b.buf(), Shape.of(out, b.dim(1)));
        }
    }

    private final Vera vera;
    private final Projection projection;

    private VeraTuning(Vera vera, Map<String, Linear> targets, Projection projection) {
        super(targets, (path, linear) -> new VeraLayer(linear, vera, projection));
        this.vera = vera;
        this.projection = projection;
    }

    static VeraTuning of(Vera vera, Module root, boolean everyName) {
        Map<String, Linear> targets = vera.targets().find(root, everyName);
        VeraTuning tuning = new VeraTuning(vera, targets, new Projection(vera, targets));
        tuning.alsoBiases(vera.bias(), root);
        return tuning;
    }

    @Override
    public Map<String, Tensor> shared() {
        Map<String, Tensor> all = new LinkedHashMap<>();
        if (vera.saveProjection()) {
            all.put("vera_A", projection.a);
            all.put("vera_B", projection.b);
        }
        return all;
    }
}
