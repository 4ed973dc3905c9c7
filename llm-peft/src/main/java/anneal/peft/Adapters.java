package anneal.peft;

import anneal.io.NamedTensors;
import anneal.io.Safetensors;
import anneal.io.SafetensorsWriter;
import anneal.nn.Adapter;
import anneal.nn.LayerWatch;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.nn.TaskModel;
import anneal.nn.Trainable;
import anneal.tensor.Memory;
import anneal.tensor.Rng;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Predicate;
import java.util.function.Supplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The adapters of a model: what is trained, switched off, merged, saved. A trainer takes them as they are.
 *
 * <p>Files are PEFT's: {@code adapter_config.json} and {@code adapter_model.safetensors}, whose keys are "base_model.model." and the
 * names of {@link #parameters}; what is different for a method stands with it.
 */
public final class Adapters implements Trainable {
    private static final Logger LOG = LoggerFactory.getLogger(Adapters.class);
    private static final String CONFIG = "adapter_config.json";

    private final Method method;
    private final Tuning tuning;
    private final Set<String> frozen = new HashSet<>();
    private BaseFingerprint base;
    private int disabled;
    private boolean plugged;
    private boolean merged;

    private Adapters(Method method, Tuning tuning, BaseFingerprint base) {
        this.method = method;
        this.tuning = tuning;
        this.base = base;
    }

    static Adapters attach(Method method, Module root, long seed) {
        Adapters adapters = plug(method, root, true);
        try {
            adapters.tuning.init(new Rng(seed));
        } catch (RuntimeException e) { // nothing is left plugged in
            adapters.plug(false);
            throw e;
        }
        adapters.parameters().values().forEach(p -> p.trainable(true));
        return adapters;
    }

    /** Adapters that begin with these numbers, by name; all that are stored must be given. */
    static Adapters of(Method method, Module root, Map<String, float[]> numbers) {
        Adapters adapters = plug(method, root, false);
        adapters.tuning.stored().forEach((name, tensor) -> tensor.set(numbers.get(name)));
        return adapters;
    }

    private static Adapters plug(Method method, Module root, boolean everyName) {
        BaseFingerprint base = BaseFingerprint.of(root);
        Tuning tuning = WholeTuning.of(Tuning.of(method, root, everyName), root, method.modulesToSave());
        Map<String, Linear> linears = root.find(Linear.class);
        for (String path : tuning.paths()) {
            if (linears.containsKey(path) && linears.get(path).adapter() != Adapter.NONE) {
                throw Tuning.occupied(path);
            }
        }
        root.freeze();
        Adapters adapters = new Adapters(method, tuning, base);
        adapters.plug(true);
        return adapters;
    }

    /** Puts them into the model or takes them out; nothing happens if that is so already. */
    void plug(boolean in) {
        if (plugged != in) {
            tuning.plug(in);
            plugged = in;
        }
    }

    /** What they have put into the model. */
    Tuning tuning() {
        return tuning;
    }

    /** The configuration they were made with. */
    public Method method() {
        return method;
    }

    /** What is trained, by name: "model.layers.0.self_attn.q_proj.lora_A.weight", and biases if the configuration says so. */
    @Override
    public Map<String, Tensor> parameters() {
        if (frozen.isEmpty()) {
            return tuning.parameters();
        }
        Map<String, Tensor> trained = new LinkedHashMap<>(tuning.parameters());
        trained.keySet().removeAll(frozen);
        return trained;
    }

    /**
     * Stops the training of parameters whose name holds this regular expression: they keep their numbers and are still saved.
     * {@code freeze("lora_A")} is LoRA-FA (Zhang et al., arXiv:2308.03303): only B moves, and of a layer's input only its product with A
     * matters to the gradient. PEFT's optimiser of that name turns the gradient of B besides.
     *
     * @throws IllegalArgumentException if it fits no parameter, or all of them
     */
    public void freeze(String pattern) {
        Map<String, Tensor> now = parameters();
        Predicate<String> fits = Targets.pattern(pattern).asPredicate();
        List<String> names = now.keySet().stream().filter(fits).toList();
        if (names.isEmpty() || names.size() == now.size()) {
            throw new IllegalArgumentException("freeze: " + pattern + " fits " + (names.isEmpty() ? "none" : "all")
                    + " of the " + now.size() + " trained parameters");
        }
        names.forEach(name -> now.get(name).trainable(false));
        frozen.addAll(names);
    }

    /** Paths of the adapted modules. */
    public List<String> paths() {
        return tuning.paths();
    }

    /**
     * How the linear layers of the base are stored that these were made on: "NF4-DQ", "Q4_K, Q6_K". Of loaded adapters as their file
     * remembers it; empty if it does not say.
     */
    public Optional<String> baseFormat() {
        return Optional.ofNullable(base.format());
    }

    // ---------------------------------------------------------------- what the method does while it is trained

    @Override
    public void begin(long total) {
        tuning.begin(total);
    }

    @Override
    public Optional<Tensor> penalty() {
        return tuning.penalty();
    }

    @Override
    public void updated(Step step) {
        tuning.updated(step);
    }

    @Override
    public void restored() {
        tuning.restored();
    }

    @Override
    public Map<String, Tensor> state() {
        return tuning.state();
    }

    // ---------------------------------------------------------------- off and on

    /** Ends a time without adapters. */
    public interface Disabled extends AutoCloseable {
        @Override
        void close();
    }

    /** Takes the adapters out until closed: the model is the base again, bit for bit, but for trained biases. May be nested. */
    public Disabled disabled() {
        if (merged) {
            throw new IllegalStateException("disabled: the adapters are merged into the weights; call unmerge first");
        }
        boolean wasPlugged = plugged;
        disabled++;
        plug(false);
        return new Disabled() {
            private boolean closed;

            @Override
            public void close() {
                if (!closed) {
                    disabled--;
                    plug(wasPlugged);
                }
                closed = true;
            }
        };
    }

    /** Takes the adapters out for good. */
    public void detach() {
        if (merged) {
            unmerge();
        }
        plug(false);
    }

    // ---------------------------------------------------------------- merge

    /** See {@link #merge(LayerWatch)}. */
    public void merge() {
        merge(LayerWatch.NONE);
    }

    /**
     * Adds the adapters into the weights of their layers, which from then on compute as plain layers. Every merged matrix becomes
     * floats in memory, whatever its storage was.
     *
     * @param watch told after each linear layer
     */
    public void merge(LayerWatch watch) {
        requireMergeable();
        Set<String> widened = new TreeSet<>(tuning.merge(watch));
        if (!widened.isEmpty()) {
            LOG.info("merge: weights stored as {} became F32 in memory", String.join(", ", widened));
        }
        merged = true;
        plugged = false;
    }

    private void requireMergeable() {
        if (merged || !plugged) {
            throw new IllegalStateException(
                    merged
                            ? "merge: the adapters are merged already"
                            : "merge: the adapters are " + (disabled > 0 ? "disabled" : "not in the model"));
        }
    }

    /** See {@link #merge(Supplier, double, LayerWatch)}. */
    public MergeReport merge(Supplier<Tensor> probe, double bound) {
        return merge(probe, bound, LayerWatch.NONE);
    }

    /**
     * Adds the adapters into the weights of their layers, each in the storage format it has, and measures what the rounding does; a
     * format that can only be read becomes floats. A layer whose rounding is more than half of the update is named in a warning.
     *
     * @param probe gives logits of the model for some text
     * @param bound of the largest difference of a logit between adapters applied and merged
     * @param watch told after each linear layer
     * @throws IllegalArgumentException if the difference is above the bound; the model is then as it was
     */
    public MergeReport merge(Supplier<Tensor> probe, double bound, LayerWatch watch) {
        requireMergeable();
        float[] applied = numbers(probe), base;
        try (var _ = disabled()) {
            base = numbers(probe);
        }
        List<MergeReport.Layer> layers = tuning.mergeStored(watch);
        merged = true;
        plugged = false;
        MergeReport report = new MergeReport(largest(numbers(probe), applied), largest(applied, base), layers);
        report.warning().ifPresent(LOG::warn);
        if (!(report.difference() <= bound)) {
            unmerge();
            throw new IllegalArgumentException(String.format(
                    Locale.ROOT,
                    "merge: in the storage of the layers a logit of the probe differs by %.3g, above the bound of %.3g;"
                            + " nothing was merged. merge() makes floats and loses nothing",
                    report.difference(),
                    bound));
        }
        return report;
    }

    private static float[] numbers(Supplier<Tensor> probe) {
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            return probe.get().toArray();
        }
    }

    private static double largest(float[] a, float[] b) {
        double most = 0;
        for (int i = 0; i < a.length; i++) {
            double d = Math.abs((double) a[i] - b[i]);
            most = d > most || Double.isNaN(d) ? d : most;
        }
        return most;
    }

    /** Puts the base weights back, bit for bit, and the adapters in. */
    public void unmerge() {
        if (!merged) {
            throw new IllegalStateException("unmerge: the adapters are not merged");
        }
        tuning.unmerge();
        merged = false;
        plugged = true;
    }

    /** True between {@link #merge} and {@link #unmerge}. */
    public boolean merged() {
        return merged;
    }

    // ---------------------------------------------------------------- files

    /** What the file holds, by its name there. */
    private Map<String, Tensor> inFile(AdapterFile<?> format, Map<String, Tensor> stored) {
        Map<String, Tensor> all = new LinkedHashMap<>();
        stored.forEach((name, t) -> all.put(format.prefix() + name, t));
        tuning.shared().forEach((name, t) -> all.put("base_model." + name, t));
        return all;
    }

    /**
     * Writes a folder that PEFT's from_pretrained reads. Files of an adapter that is there already are replaced. Of adapters that gave
     * their layers another matrix it holds A and B only: who loads it derives that matrix again from the same model.
     *
     * @throws IllegalStateException if it could not be derived again (LoRA-GA)
     * @throws UncheckedIOException naming the file that cannot be written; each file is whole or as it was
     */
    public void save(Path folder) {
        AdapterFile.requireSavable(method);
        write(folder, method, tuning.stored());
    }

    /**
     * Writes adapters that gave their layers another matrix (PiSSA, OLoRA, LoRA-GA) as a plain LoRA of twice the rank, which adds to the
     * model as it was and whose reader needs to derive nothing: what PEFT does with
     * path_initial_model_for_weight_conversion.
     *
     * @throws IllegalStateException if the adapters are a plain addition already, or cannot be one (LoftQ, DoRA)
     */
    public void saveAsPlainLora(Path folder) {
        if (!(WholeTuning.method(tuning) instanceof LoraTuning lora)) {
            throw new IllegalStateException("saveAsPlainLora: only a LoRA can be converted; call save");
        }
        LoraTuning.Plain plain = lora.plain();
        Map<String, Tensor> stored = new LinkedHashMap<>(tuning.stored());
        stored.putAll(plain.stored());
        write(folder, plain.lora(), stored);
    }

    private void write(Path folder, Method as, Map<String, Tensor> stored) {
        try {
            Files.createDirectories(folder);
        } catch (IOException e) {
            throw new UncheckedIOException(folder + " cannot be made: " + e.getMessage(), e);
        }
        AdapterFile<?> format = AdapterFile.of(as);
        SafetensorsWriter writer =
                new SafetensorsWriter().metadata("format", "pt").metadata(BaseFingerprint.KEY, base.text());
        baseFormat().ifPresent(name -> writer.metadata(BaseFingerprint.FORMAT, name));
        writer.write(folder.resolve(format.weights()), NamedTensors.stored(inFile(format, stored), ""));
        AdapterFile.write(folder.resolve(CONFIG), as, tuning);
        format.writeMore(folder, tuning);
    }

    /**
     * Puts the adapters of a folder into a model and freezes it; they are not trained unless a trainer takes them.
     *
     * @throws IllegalArgumentException if the file is of no method that there is, has options that are not supported, or does not fit the
     *     model: names everything that is missing, too much or of another shape; or if it remembers another base. PEFT's own files
     *     remember none
     */
    public static Adapters load(Module root, Path folder) {
        String task = root instanceof TaskModel m ? m.task() : AdapterFile.LANGUAGE;
        Adapters adapters = plug(AdapterFile.read(folder.resolve(CONFIG), task), root, false);
        AdapterFile<?> format = AdapterFile.of(adapters.method);
        try (Arena arena = Arena.ofShared()) {
            adapters.tuning.derive();
            Path weights = folder.resolve(format.weights());
            Safetensors file = Safetensors.open(weights, arena);
            Map<String, Tensor> places = adapters.inFile(format, adapters.tuning.stored());
            NamedTensors.fill(places, "", file.tensors(), weights.toString());
            adapters.requireBase(file.metadata(), weights.toString());
            format.checkMore(folder, adapters.tuning);
        } catch (IllegalArgumentException | IllegalStateException | UncheckedIOException e) {
            adapters.detach();
            throw e;
        }
        return adapters;
    }

    /** The base that the file remembers, if it does, must be the one at hand; it stays in what is saved again. */
    private void requireBase(Map<String, String> metadata, String where) {
        String remembered = metadata.get(BaseFingerprint.KEY);
        if (remembered != null) {
            BaseFingerprint then = BaseFingerprint.parse(remembered, metadata.get(BaseFingerprint.FORMAT), where);
            String different = then.compare(base, where);
            if (different != null) {
                LOG.warn(different);
            }
            base = then;
        }
    }
}
