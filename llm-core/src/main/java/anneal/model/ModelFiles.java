package anneal.model;

import anneal.io.Gguf;
import anneal.io.GgufWriter;
import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.io.Safetensors;
import anneal.io.SafetensorsWriter;
import anneal.io.StoredTensor;
import anneal.io.TensorEntry;
import anneal.nn.Embedding;
import anneal.nn.FolderForm;
import anneal.nn.LayerWatch;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.nn.Stored;
import anneal.tensor.DType;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;

/** Decoders on disk: Hugging Face folders (config.json and safetensors) and GGUF files, read in place and written. */
public final class ModelFiles {
    /** Bytes of the largest safetensors file that is written; as transformers splits. */
    private static final long SHARD = 5_000_000_000L;

    private ModelFiles() {}

    /**
     * The model of a folder, its matrices mapped and not trained.
     *
     * @param arena how long it lives
     * @throws IllegalArgumentException naming every tensor that is missing, too much or of another shape
     */
    public static Decoder load(Path folder, Arena arena) {
        JsonObject json = Json.read(folder.resolve("config.json"));
        return load(folder, json, Safetensors.open(folder, arena).tensors(), arena);
    }

    /** The model of these tensors of a folder, whose {@code config.json} this is. */
    static Decoder load(Path folder, JsonObject json, Map<String, StoredTensor> tensors, Arena arena) {
        DecoderConfig config = DecoderConfig.of(json);
        Family.Names names = config.family().names();
        Map<String, Object> quantization = json.has("quantization_config")
                ? json.object("quantization_config").map()
                : Map.of();
        return built(
                folder, config, new FileWeights(prefixed(tensors, names), names.transposed(), quantization, arena));
    }

    /** The model of a GGUF file, its matrices mapped, in their own storage types, and not trained. */
    public static Decoder load(Path path, Gguf file, Arena arena) {
        DecoderConfig config;
        try {
            config = GgufModel.config(file);
        } catch (IllegalArgumentException e) {
            throw e.getMessage().startsWith(path.toString())
                    ? e
                    : new IllegalArgumentException(path + ": " + e.getMessage(), e);
        }
        return built(path, config, new FileWeights(GgufModel.tensors(file, config, arena), false, Map.of(), arena));
    }

    private static Decoder built(Path path, DecoderConfig config, FileWeights weights) {
        Decoder decoder = new Decoder(config, weights);
        weights.requireFit(path.toString(), config);
        return decoder;
    }

    /** Files of the bare model leave out the first part of every name: "wte.weight". */
    private static Map<String, StoredTensor> prefixed(Map<String, StoredTensor> tensors, Family.Names names) {
        String embedding = names.embedding() + ".weight";
        String base = embedding.substring(0, embedding.indexOf('.') + 1);
        if (tensors.containsKey(embedding) || !tensors.containsKey(embedding.substring(base.length()))) {
            return tensors;
        }
        Map<String, StoredTensor> out = new LinkedHashMap<>();
        tensors.forEach((name, t) -> out.put(name.startsWith(names.head()) ? name : base + name, t));
        return out;
    }

    /** See {@link #save(Decoder, Path, DType, LayerWatch)}. */
    public static void save(Decoder model, Path folder, DType type) {
        save(model, folder, type, LayerWatch.NONE);
    }

    /**
     * Writes config.json, generation_config.json and safetensors into a folder that exists. Weights that were quantised into a form that
     * folders have keep it.
     *
     * @param type of all other numbers, F32, F16 or BF16
     * @param watch told of each tensor when its numbers are written
     */
    public static void save(Decoder model, Path folder, DType type, LayerWatch watch) {
        Map<String, Object> json = new LinkedHashMap<>(model.config().toJson()); // fails before anything is written
        json.put("tie_word_embeddings", ModelTensor.tied(model));
        write(model, model.config(), json, ModelTensor.of(model), folder, type, watch);
        Json.write(folder.resolve("generation_config.json"), generationConfig(model.config()));
    }

    /** Writes these tensors of a model, a decoder or what has one inside, and config.json. */
    static void write(
            Module model,
            DecoderConfig c,
            Map<String, Object> json,
            List<ModelTensor> tensors,
            Path folder,
            DType type,
            LayerWatch watch) {
        requireMerged(model);
        json.put("torch_dtype", torchName(type));
        boolean turned = c.family().names().transposed();
        quantizationConfig(model).ifPresent(q -> json.put("quantization_config", q));
        List<TensorEntry> entries = new ArrayList<>();
        for (ModelTensor t : tensors) {
            boolean layer = t.name().startsWith(c.family().names().layers() + ".") && !t.vector();
            FolderForm form = t.folderForm().orElse(null);
            if (form != null) {
                form.tensors().forEach((name, stored) -> entries.add(entry(t.layer() + "." + name, stored, form)));
            } else {
                entries.add(turned && layer ? t.turned(t.name()) : t.entry(t.name(), null));
            }
        }
        new SafetensorsWriter().as(type).write(folder, "model", watched(entries, watch), SHARD);
        Json.write(folder.resolve("config.json"), json);
    }

    /** The same tensors, whose writer asks for the numbers of each once, when its turn comes. */
    private static List<TensorEntry> watched(List<TensorEntry> entries, LayerWatch watch) {
        int[] done = {0};
        return entries.stream()
                .<TensorEntry>map(e -> new Watched(e, () -> watch.layer(e.name(), ++done[0], entries.size())))
                .toList();
    }

    private record Watched(TensorEntry of, Runnable told) implements TensorEntry {
        @Override
        public String name() {
            return of.name();
        }

        @Override
        public DType dtype() {
            return of.dtype();
        }

        @Override
        public long[] shape() {
            return of.shape();
        }

        @Override
        public MemorySegment data() {
            MemorySegment data = of.data();
            told.run();
            return data;
        }

        @Override
        public boolean asItIs() {
            return of.asItIs();
        }
    }

    private static TensorEntry entry(String name, Stored s, FolderForm form) {
        return form.coded()
                ? TensorEntry.asItIs(name, s.dtype(), s.shape(), s.data())
                : new StoredTensor(name, s.dtype(), s.shape(), s.data());
    }

    /** What all layers that are not floats say of themselves; they must agree, since one config.json describes them all. */
    private static Optional<Map<String, Object>> quantizationConfig(Module model) {
        Map<String, Linear> layers = model.find(Linear.class);
        List<String> plain = layers.keySet().stream()
                .filter(path -> layers.get(path).weight().folderForm().isEmpty())
                .toList();
        Map<Map<String, Object>, String> said = new LinkedHashMap<>();
        layers.forEach((path, l) -> l.weight().folderForm().ifPresent(f -> said.putIfAbsent(f.config(plain), path)));
        if (said.size() > 1) {
            throw new IllegalArgumentException(
                    "save: layers are quantised in ways that one config.json cannot describe: "
                            + String.join(" and ", said.values()) + " differ");
        }
        return said.keySet().stream().findFirst();
    }

    private static String torchName(DType type) {
        return switch (type) {
            case F32 -> "float32";
            case F16 -> "float16";
            case BF16 -> "bfloat16";
            default -> throw new IllegalArgumentException("save: a folder is written as F32, F16 or BF16, not " + type);
        };
    }

    private static Map<String, Object> generationConfig(DecoderConfig c) {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("_from_model_config", true);
        json.put("bos_token_id", c.tokens().bos() < 0 ? null : c.tokens().bos());
        json.put("eos_token_id", ConfigWriter.ids(c.tokens().eos()));
        json.put("pad_token_id", c.tokens().pad() < 0 ? null : c.tokens().pad());
        return json;
    }

    /** See {@link #saveGguf(Decoder, Path, DType, Consumer, LayerWatch)}. */
    public static void saveGguf(Decoder model, Path file, DType type, Consumer<GgufWriter> more) {
        saveGguf(model, file, type, more, LayerWatch.NONE);
    }

    /**
     * Writes a GGUF file. Weights that were quantised into its blocks keep them.
     *
     * @param type of all other matrices, F32, F16, BF16 or Q8_0; vectors are always F32
     * @param more further metadata: the vocabulary
     * @param watch told of each tensor when its numbers are written
     */
    public static void saveGguf(Decoder model, Path file, DType type, Consumer<GgufWriter> more, LayerWatch watch) {
        requireMerged(model);
        GgufModel.requireFloats(type);
        List<TensorEntry> entries = GgufModel.entries(ModelTensor.of(model), model.config());
        GgufWriter to = new GgufWriter().as(type);
        GgufModel.write(model.config(), to);
        to.put("general.file_type", GgufModel.fileType(entries, type));
        more.accept(to);
        to.write(file, watched(entries, watch));
    }

    /** What is plugged into a model is not in its tensors: saving it would lose it without a word. */
    private static void requireMerged(Module model) {
        model.walk((path, module) -> {
            if (plugged(module)) {
                throw new IllegalArgumentException("save: an adapter is plugged into " + path
                        + "; merge it, or save the adapter by itself and take it off");
            }
        });
    }

    private static boolean plugged(Module module) {
        return switch (module) {
            case Linear l -> l.adapter() != anneal.nn.Adapter.NONE;
            case Embedding e -> e.plug() != Embedding.Plug.NONE;
            case anneal.nn.Attention a -> a.prefix() != null;
            default -> false;
        };
    }
}
