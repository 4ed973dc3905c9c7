package anneal.peft;

import anneal.nn.Adapter;
import anneal.nn.LayerWatch;
import anneal.nn.Linear;
import anneal.nn.Norm;
import anneal.tensor.Rng;
import anneal.tensor.Tensor;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Methods that train numbers of the model itself: trained copies of them, so that the frozen ones are still there to be switched
 * back to.
 */
final class CopyTuning implements Tuning {
    private final LinearTuning linears;
    private final Map<String, Norm> norms;
    private final Map<String, Norm.Affine> tuned = new LinkedHashMap<>();
    private final Map<String, Tensor> parameters = new LinkedHashMap<>();

    /** Numbers that norms had before a merge. */
    private final Map<Tensor, float[]> before = new IdentityHashMap<>();

    /** Which numbers of the modules are copied. */
    enum Part {
        /** Biases of linear layers, shifts of norms. */
        BIAS,
        /** All. */
        ALL
    }

    /**
     * Copies for these modules.
     *
     * @param normEnd stands between a norm's path and "weight" or "bias" in the file
     */
    CopyTuning(Map<String, Linear> linears, Map<String, Norm> norms, Part part, String normEnd) {
        linears.forEach((path, l) -> requireFree(path, l.adapter() == Adapter.NONE));
        norms.forEach((path, n) -> requireFree(path, n.plugged() == n.own()));
        this.linears = LinearTuning.of(linears, (path, l) -> new CopyLayer(l, part == Part.ALL));
        this.norms = norms;
        parameters.putAll(this.linears.parameters());
        norms.forEach((path, norm) -> {
            Norm.Affine own = norm.own();
            Tensor weight = part == Part.ALL ? CopyLayer.copy(own.weight()) : own.weight();
            Tensor bias = own.bias() == null ? null : CopyLayer.copy(own.bias());
            tuned.put(path, new Norm.Affine(weight, bias));
            if (part == Part.ALL) {
                parameters.put(path + normEnd + ".weight", weight);
            }
            if (bias != null) {
                parameters.put(path + normEnd + ".bias", bias);
            }
        });
    }

    private static void requireFree(String path, boolean free) {
        if (!free) {
            throw Tuning.occupied(path);
        }
    }

    @Override
    public Map<String, Tensor> parameters() {
        return Collections.unmodifiableMap(parameters);
    }

    /** Nothing: copies are an identity already. */
    @Override
    public void init(Rng rng) {}

    @Override
    public List<String> paths() {
        List<String> paths = new ArrayList<>(linears.paths());
        paths.addAll(norms.keySet());
        return paths;
    }

    @Override
    public void plug(boolean in) {
        linears.plug(in);
        norms.forEach((path, norm) -> norm.plug(in ? tuned.get(path) : norm.own()));
    }

    @Override
    public List<String> merge(LayerWatch watch) {
        mergeNorms();
        return linears.merge(watch);
    }

    @Override
    public List<MergeReport.Layer> mergeStored(LayerWatch watch) {
        mergeNorms();
        return linears.mergeStored(watch);
    }

    private void mergeNorms() {
        norms.forEach((path, norm) -> {
            overwrite(norm.own().weight(), tuned.get(path).weight());
            if (norm.own().bias() != null) {
                overwrite(norm.own().bias(), tuned.get(path).bias());
            }
            norm.plug(norm.own());
        });
    }

    private void overwrite(Tensor own, Tensor by) {
        before.put(own, own.toArray());
        own.set(by);
    }

    @Override
    public void unmerge() {
        before.forEach(Tensor::set);
        norms.forEach((path, norm) -> norm.plug(tuned.get(path)));
        linears.unmerge();
    }
}
