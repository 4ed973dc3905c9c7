package anneal.peft;

import anneal.nn.Activations;
import anneal.nn.Attention;
import anneal.nn.FeedForward;
import anneal.nn.LayerWatch;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.nn.SubLayer;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Tensor;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;

/** {@link Bottleneck} in a model: a hook before the residual of each chosen sub-layer. */
final class BottleneckTuning implements Tuning {
    private final Map<SubLayer, Place> places = new LinkedHashMap<>();
    private final Map<String, Tensor> parameters = new LinkedHashMap<>();
    private final Bottleneck method;
    private final int width;
    private final Linear head;

    BottleneckTuning(Bottleneck method, Module root) {
        this.method = method;
        List<Attention> attention = List.copyOf(root.find(Attention.class).values());
        List<FeedForward> feedForward = List.copyOf(root.find(FeedForward.class).values());
        requireBlocks(attention.size(), feedForward.size());
        width = width(attention.getFirst());
        for (int i = 0; i < attention.size(); i++) {
            if (!method.leaveOut().contains(i)) {
                add(method.attention(), attention.get(i), ".attention_adapters");
                add(method.feedForward(), feedForward.get(i), ".output_adapters");
            }
        }
        if (places.isEmpty()) {
            throw new IllegalArgumentException("Bottleneck: no block is left, leaveOut is " + method.leaveOut() + " of "
                    + attention.size() + " blocks");
        }
        List<Linear> linears = List.copyOf(root.find(Linear.class).values());
        head = linears.getLast();
    }

    private void requireBlocks(int attention, int feedForward) {
        if (attention == 0 || attention != feedForward) {
            throw new IllegalArgumentException("Bottleneck: the model has " + attention + " attention layers and "
                    + feedForward + " feed-forward networks; it must have blocks with one of each");
        }
        for (int layer : method.leaveOut()) {
            if (layer < 0 || layer >= attention) {
                throw new IllegalArgumentException(
                        "Bottleneck: leaveOut names block " + layer + ", there are 0 to " + (attention - 1));
            }
        }
    }

    /** D: what the projection that closes a branch puts out; it is the last one. */
    private static int width(Attention a) {
        return List.copyOf(a.find(Linear.class).values()).getLast().out();
    }

    private void add(boolean wanted, SubLayer layer, String list) {
        if (wanted) {
            Place place = new Place(method, width);
            places.put(layer, place);
            String block = layer.path().substring(0, layer.path().lastIndexOf('.'));
            place.parameters()
                    .forEach((end, p) -> parameters.put(block + list + ".adapters." + method.name() + "." + end, p));
        }
    }

    /** The network at one sub-layer. */
    private static final class Place implements SubLayer.Hook {
        /** What the library's layer norms add to the variance: PyTorch's default. */
        private static final float EPS = 1e-5f;

        private record Affine(Tensor weight, Tensor bias) {
            static Affine norm(boolean there, int width) {
                return there ? new Affine(LinearTuning.allocate(width), LinearTuning.allocate(width)) : null;
            }

            static Affine linear(int out, int in) {
                return new Affine(LinearTuning.allocate(out, in), LinearTuning.allocate(out));
            }

            Tensor forward(Tensor x) {
                return Ops.addBiasInPlace(Ops.matmulT(x, weight), bias);
            }

            Tensor normed(Tensor x) {
                return Ops.layerNorm(x, weight, bias, EPS);
            }
        }

        private final Bottleneck method;
        private final UnaryOperator<Tensor> f;
        private final Affine before;
        private final Affine down;
        private final Affine up;
        private final Affine after;

        Place(Bottleneck method, int width) {
            this.method = method;
            f = Activations.named(method.nonLinearity());
            before = Affine.norm(method.normBefore(), width);
            down = Affine.linear(method.size(width), width);
            up = Affine.linear(width, method.size(width));
            after = Affine.norm(method.normAfter(), width);
        }

        @Override
        public Tensor apply(Tensor h, Tensor x) {
            Tensor z = switch (method.input()) {
                case BRANCH -> h;
                case SUM -> Ops.add(h, x);
                case RESIDUAL -> x;
            };
            Tensor narrow = f.apply(down.forward(before == null ? z : before.normed(z)));
            Tensor wide = Ops.scale(up.forward(narrow), (float) method.scaling());
            wide = Ops.dropout(wide, (float) method.dropout());
            return Ops.addInPlace(after == null ? wide : after.normed(wide), h);
        }

        Map<String, Tensor> parameters() {
            Map<String, Tensor> all = new LinkedHashMap<>();
            // The library's down is a list of layers that begins with the norm, if there is one.
            put(all, "adapter_norm_before", before);
            put(all, "adapter_down." + (before == null ? 0 : 1), down);
            put(all, "adapter_up", up);
            put(all, "adapter_norm_after", after);
            return all;
        }

        private static void put(Map<String, Tensor> all, String name, Affine layer) {
            if (layer != null) {
                all.put(name + ".weight", layer.weight);
                all.put(name + ".bias", layer.bias);
            }
        }

        void init(Rng rng) {
            for (Affine norm : new Affine[] {before, after}) {
                if (norm != null) {
                    Inits.constant(norm.weight, 1);
                }
            }
            switch (method.init()) {
                case BERT -> {
                    Inits.normal(down.weight, 0.02, rng);
                    Inits.normal(up.weight, 0.02, rng);
                }
                case MAM_ADAPTER -> Inits.kaiming(down.weight, rng);
                case HOULSBY -> {
                    Inits.truncatedNormal(down.weight, 0.01, rng);
                    Inits.truncatedNormal(up.weight, 0.01, rng);
                }
            }
        }
    }

    Bottleneck method() {
        return method;
    }

    /** D. */
    int width() {
        return width;
    }

    /** The model's output projection: its last linear layer. */
    Linear head() {
        return head;
    }

    @Override
    public Map<String, Tensor> parameters() {
        return Collections.unmodifiableMap(parameters);
    }

    @Override
    public void init(Rng rng) {
        long label = 0;
        for (Place place : places.values()) {
            place.init(rng.fork(label++));
        }
    }

    @Override
    public List<String> paths() {
        return places.keySet().stream().map(Module::path).toList();
    }

    @Override
    public void plug(boolean in) {
        if (in) {
            for (SubLayer layer : places.keySet()) {
                if (layer.before() != SubLayer.Hook.NONE) {
                    throw new IllegalArgumentException(
                            "attach: something is plugged into the output of " + layer.path() + " already");
                }
            }
        }
        places.forEach((layer, place) -> layer.before(in ? place : SubLayer.Hook.NONE));
    }

    @Override
    public List<String> merge(LayerWatch watch) {
        throw new UnsupportedOperationException("merge: a bottleneck has a function in its middle,"
                + " so it cannot become part of a weight; keep the adapter beside the model");
    }
}
