package anneal.peft;

import anneal.nn.DenseWeight;
import anneal.nn.Linear;
import anneal.nn.Weight;
import anneal.tensor.Rng;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Any method in a model with a head that is new to its task: a copy of the head is trained and saved beside it, and the head that was
 * there is back when the adapters are out. PEFT's modules_to_save.
 */
final class HeadTuning implements Tuning {
    private final Tuning method;
    private final String task;
    private final Linear head;
    private final Weight original;
    private final DenseWeight copy;

    HeadTuning(Tuning method, String task, Linear head) {
        this.method = method;
        this.task = task;
        this.head = head;
        original = head.weight();
        copy = DenseWeight.copy(original.matrix(), Arena.ofAuto());
    }

    /** What the method itself put into the model. */
    Tuning method() {
        return method;
    }

    /** The task, in PEFT's words. */
    String task() {
        return task;
    }

    private Map<String, Tensor> withHead(Map<String, Tensor> tensors) {
        Map<String, Tensor> all = new LinkedHashMap<>(tensors);
        all.put(head.path() + ".weight", copy.tensor());
        return Collections.unmodifiableMap(all);
    }

    @Override
    public Map<String, Tensor> parameters() {
        return withHead(method.parameters());
    }

    @Override
    public Map<String, Tensor> stored() {
        return withHead(method.stored());
    }

    @Override
    public Map<String, Tensor> shared() {
        return method.shared();
    }

    @Override
    public void init(Rng rng) {
        method.init(rng);
    }

    @Override
    public void begin(long total) {
        method.begin(total);
    }

    @Override
    public Optional<Tensor> penalty() {
        return method.penalty();
    }

    @Override
    public void updated(Step step) {
        method.updated(step);
    }

    @Override
    public void restored() {
        method.restored();
    }

    @Override
    public Map<String, Tensor> state() {
        return method.state();
    }

    @Override
    public List<String> paths() {
        return method.paths();
    }

    @Override
    public void plug(boolean in) {
        method.plug(in);
        head.weight(in ? copy : original);
    }

    @Override
    public List<String> merge() {
        return method.merge();
    }

    @Override
    public List<MergeReport.Layer> mergeStored() {
        return method.mergeStored();
    }

    @Override
    public void unmerge() {
        method.unmerge();
    }
}
