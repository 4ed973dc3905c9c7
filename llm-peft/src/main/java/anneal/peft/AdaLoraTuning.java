package anneal.peft;

import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.SvdOps;
import anneal.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;

/** {@link AdaLora} in a model: an {@link AdaLoraLayer} at each target, and while it is trained a {@link RankAllocator}. */
final class AdaLoraTuning extends LinearTuning {
    private final AdaLora method;
    private final Map<String, AdaLoraLayer> layers = new LinkedHashMap<>();
    private RankAllocator allocator;
    private RankBudget.Steps budget;
    private boolean started;

    private AdaLoraTuning(AdaLora method, Map<String, Linear> targets) {
        super(targets, (path, linear) -> new AdaLoraLayer(linear, method, method.rank(path)));
        this.method = method;
        adapters().forEach((path, adapter) -> layers.put(path, (AdaLoraLayer) adapter));
    }

    static AdaLoraTuning of(AdaLora method, Module root, boolean everyName) {
        Map<String, Linear> targets = method.targets().find(root, everyName);
        if (!method.kept().isEmpty() && !method.kept().keySet().equals(targets.keySet())) {
            Set<String> apart = new TreeSet<>(targets.keySet());
            apart.removeAll(method.kept().keySet());
            Set<String> idle = new TreeSet<>(method.kept().keySet());
            idle.removeAll(targets.keySet());
            throw new IllegalArgumentException("AdaLora: the rank pattern does not fit the model: without an entry "
                    + apart + ", without a layer " + idle);
        }
        targets.forEach((path, linear) -> {
            int side = Math.min(linear.in(), linear.out());
            if (method.rank(path) > side) {
                throw new IllegalArgumentException("AdaLora: rank " + method.rank(path) + " is above the smaller side "
                        + side + " of " + path + " [" + linear.out() + ", " + linear.in()
                        + "]: no matrix of that shape has so many singular values");
            }
        });
        return new AdaLoraTuning(method, targets);
    }

    /** The phases that count: those of the run, or those of the file, or the shortest that PEFT accepts. */
    RankBudget.Steps budget() {
        if (budget != null) {
            return budget;
        }
        RankBudget.Steps asked = method.budget() instanceof RankBudget.Steps s ? s : new RankBudget.Steps(0, 0, 1, 0);
        return asked.total() > 0
                ? asked
                : new RankBudget.Steps(
                        asked.tinit(), asked.tfinal(), asked.deltaT(), asked.tinit() + asked.tfinal() + 1);
    }

    /** By layer, which of the initial triplets are left. */
    Map<String, List<Boolean>> left() {
        if (method.kept().isEmpty()) {
            return allocator().kept();
        }
        Map<String, List<Boolean>> inOrder = new LinkedHashMap<>();
        paths().forEach(path -> inOrder.put(path, method.kept().get(path)));
        return inOrder;
    }

    /** True if no rank changes any more. */
    boolean isFinal() {
        return !method.kept().isEmpty() || allocator != null && allocator.isFinal();
    }

    /** Made when it is needed first: adapters that are only used have none. */
    RankAllocator allocator() {
        if (allocator == null) {
            allocator = new RankAllocator(method, layers);
        }
        return allocator;
    }

    /** True if singular values were trained from zero without a choice of ranks being part of the loop. */
    boolean trainedAlone() {
        if (!started || budget != null) {
            return false;
        }
        return layers.values().stream().anyMatch(layer -> {
            for (float value : layer.e().toArray()) {
                if (value != 0) {
                    return true;
                }
            }
            return false;
        });
    }

    // ---------------------------------------------------------------- while it is trained

    @Override
    public void init(Rng rng) {
        super.init(rng);
        started = true;
    }

    @Override
    public void begin(long total) {
        if (method.kept().isEmpty()) {
            budget = method.budget().in(total);
        }
    }

    @Override
    public Optional<Tensor> penalty() {
        if (method.orthogonality() == 0) {
            return Optional.empty();
        }
        Tensor sum = null;
        for (AdaLoraLayer layer : layers.values()) {
            Tensor both = Ops.add(SvdOps.orthogonality(layer.a()), SvdOps.columnOrthogonality(layer.b()));
            sum = sum == null ? both : Ops.add(sum, both);
        }
        return Optional.of(Ops.scale(sum, (float) (method.orthogonality() / (2 * layers.size()))));
    }

    @Override
    public void updated(Step step) {
        if (method.kept().isEmpty()) {
            allocator().updated(step, budget);
        }
    }

    @Override
    public Map<String, Tensor> state() {
        return method.kept().isEmpty() ? allocator().state() : Map.of();
    }

    // ---------------------------------------------------------------- files

    /** What is left of each layer once that is final; all of it before, since what is zero now may come back. */
    @Override
    public Map<String, Tensor> stored() {
        if (!method.kept().isEmpty() || !isFinal()) {
            return parameters();
        }
        Map<String, Tensor> cut = new LinkedHashMap<>();
        left().forEach((path, left) -> {
            AdaLoraLayer layer = layers.get(path);
            AdaLoraLayer.named(rows(layer.a(), left), rows(layer.e(), left), columns(layer.b(), left))
                    .forEach((end, t) -> cut.put(path + "." + end, t));
        });
        return cut;
    }

    private static Tensor rows(Tensor x, List<Boolean> left) {
        int n = (int) left.stream().filter(k -> k).count(), width = x.dim(1);
        float[] from = x.toArray(), to = new float[n * width];
        for (int i = 0, at = 0; i < left.size(); i++) {
            if (left.get(i)) {
                System.arraycopy(from, i * width, to, at++ * width, width);
            }
        }
        Tensor y = allocate(n, width);
        y.set(to);
        return y;
    }

    private static Tensor columns(Tensor x, List<Boolean> left) {
        int n = (int) left.stream().filter(k -> k).count(), width = left.size();
        float[] from = x.toArray(), to = new float[x.dim(0) * n];
        for (int i = 0, at = 0; i < from.length; i++) {
            if (left.get(i % width)) {
                to[at++] = from[i];
            }
        }
        Tensor y = allocate(x.dim(0), n);
        y.set(to);
        return y;
    }
}
