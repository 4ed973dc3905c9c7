package anneal.model;

import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.kernels.Activation;
import anneal.model.DecoderConfig.Biases;
import anneal.model.DecoderConfig.Dropouts;
import anneal.model.DecoderConfig.Rotary;
import anneal.model.DecoderConfig.SpecialTokens;
import anneal.nn.Activations;
import anneal.nn.RopeScaling;
import anneal.nn.WeightReader;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/**
 * config.json of each family, in the spellings of old and new transformers, to a {@link DecoderConfig}.
 *
 * <p>A key that could change a number and is not understood is an error. What is absent has transformers' default.
 */
final class ConfigReader {
    /** Keys that change no number of a forward pass, in any family. */
    private static final Set<String> HARMLESS = Set.of(
            "architectures",
            "model_type",
            "auto_map",
            "torch_dtype",
            "dtype",
            "transformers_version",
            "transformers.js_config",
            "use_cache",
            "pretraining_tp",
            "is_llama_config",
            "reorder_and_upcast_attn",
            "task_specific_params",
            "finetuning_task",
            "id2label",
            "label2id",
            "num_labels",
            "problem_type",
            "return_dict",
            "return_dict_in_generate",
            "output_attentions",
            "output_hidden_states",
            "output_scores",
            "torchscript",
            "use_bfloat16",
            "gradient_checkpointing",
            "tokenizer_class",
            "prefix",
            "n_ctx",
            "vocab_file",
            "unsloth_fixed",
            "unsloth_version",
            "max_length",
            "min_length",
            "do_sample",
            "temperature",
            "top_k",
            "top_p",
            "repetition_penalty",
            "chunk_size_feed_forward",
            "sep_token_id",
            "decoder_start_token_id",
            "use_flash_attn",
            "max_sequence_length",
            "n_special",
            "predict_special_tokens",
            "output_past",
            "attn_implementation",
            // What transformers' base class wrote into every config, for generation and for other kinds of model.
            "num_beams",
            "num_beam_groups",
            "diversity_penalty",
            "length_penalty",
            "typical_p",
            "early_stopping",
            "no_repeat_ngram_size",
            "encoder_no_repeat_ngram_size",
            "bad_words_ids",
            "num_return_sequences",
            "remove_invalid_values",
            "exponential_decay_length_penalty",
            "suppress_tokens",
            "begin_suppress_tokens",
            "forced_bos_token_id",
            "forced_eos_token_id",
            "max_new_tokens",
            "tf_legacy_loss",
            "tie_encoder_decoder",
            "cross_attention_hidden_size");

    /** Keys that are known to change what is computed only when they are not false or empty. */
    private static final Set<String> OFF = Set.of(
            "add_cross_attention",
            "attention_bias",
            "is_decoder",
            "is_encoder_decoder",
            "mlp_bias",
            "pruned_heads",
            "rope_interleaved",
            "use_bidirectional_attention",
            "use_mrope",
            "use_sliding_window");

    private static final String ORIGINAL = "original_max_position_embeddings";

    private final JsonObject json;
    private final Set<String> read = new TreeSet<>();

    private ConfigReader(JsonObject json) {
        this.json = json;
    }

    static DecoderConfig read(JsonObject json) {
        Family family = family(json);
        ConfigReader r = new ConfigReader(json);
        DecoderConfig.Builder b = family == Family.GPT2 ? r.gpt2() : r.llama(family);
        b.tokens(r.tokens());
        r.requireUnderstood();
        try {
            return b.build();
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(json.where() + ": " + e.getMessage(), e);
        }
    }

    private static Family family(JsonObject json) {
        String type = json.string("model_type", "");
        List<String> classes = json.has("architectures") ? json.strings("architectures") : List.of();
        for (Family f : Family.values()) {
            if (f.modelType().equals(type) || type.isEmpty() && classes.contains(f.architecture())) {
                return f;
            }
        }
        throw new IllegalArgumentException(json.where() + ": unknown architecture "
                + (type.isEmpty() ? classes.toString() : "\"" + type + "\"") + "; known are " + Family.known());
    }

    private DecoderConfig.Builder gpt2() {
        int size = integer("n_embd", "hidden_size"), layers = integer("n_layer", "num_hidden_layers");
        return DecoderConfig.builder(Family.GPT2)
                .vocabSize(integer("vocab_size"))
                .hiddenSize(size)
                .layers(layers)
                .heads(integer("n_head", "num_attention_heads"))
                .feedForwardSize(integerOr("n_inner", 4 * size))
                .contextLength(integer("n_positions", "max_position_embeddings"))
                .activation(activation("activation_function", "gelu_new"))
                .normEps(numberOr("layer_norm_epsilon", 1e-5))
                .initRange(numberOr("initializer_range", 0.02))
                .tied(flagOr("tie_word_embeddings", true))
                .scores(flagOr("scale_attn_weights", true), flagOr("scale_attn_by_inverse_layer_idx", false))
                .dropouts(new Dropouts(
                        dropout("embd_pdrop", 0.1), dropout("resid_pdrop", 0.1), dropout("attn_pdrop", 0.1)));
    }

    private DecoderConfig.Builder llama(Family family) {
        int size = integer("hidden_size"), layers = integer("num_hidden_layers");
        int heads = integer("num_attention_heads"), context = integerOr("max_position_embeddings", 2048);
        int usualDim = family == Family.QWEN3 ? 128 : heads > 0 ? size / heads : 0;
        int dim = integerOr("head_dim", usualDim);
        boolean qkvBias = family == Family.QWEN2 || family != Family.MISTRAL && flagOr("attention_bias", false);
        boolean outBias = family != Family.QWEN2 && qkvBias;
        boolean mlpBias = family == Family.LLAMA && flagOr("mlp_bias", false);
        return DecoderConfig.builder(family)
                .vocabSize(integer("vocab_size"))
                .hiddenSize(size)
                .feedForwardSize(integer("intermediate_size"))
                .layers(layers)
                .heads(heads, integerOr("num_key_value_heads", heads), dim)
                .contextLength(context)
                .activation(activation("hidden_act", "silu"))
                .normEps(numberOr("rms_norm_eps", 1e-6))
                .initRange(numberOr("initializer_range", 0.02))
                .tied(flagOr("tie_word_embeddings", false))
                .biases(new Biases(qkvBias, outBias, mlpBias))
                .rotary(rotary(dim, context))
                .windows(windows(family, layers))
                .dropouts(new Dropouts(0, 0, dropout("attention_dropout", 0)));
    }

    // ---------------------------------------------------------------- rotary positions

    private Rotary rotary(int dim, int context) {
        double theta = numberOr("rope_theta", 10_000), partial = numberOr("partial_rotary_factor", 1);
        String key = json.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
        read.add("rope_parameters");
        read.add("rope_scaling");
        if (!json.has(key)) {
            return new Rotary(theta, (int) (dim * partial), new RopeScaling.None());
        }
        // transformers lets a number beside rope_scaling stand for the one inside, and ignores it where the type has no
        // use for it.
        int original = integerOr(ORIGINAL, context);
        ConfigReader r = new ConfigReader(sameForAllLayers(json.object(key)));
        original = json.has(ORIGINAL) ? original : r.integerOr(ORIGINAL, context);
        theta = r.numberOr("rope_theta", theta);
        partial = r.numberOr("partial_rotary_factor", partial);
        String type = r.stringOr("rope_type", r.stringOr("type", "default"));
        RopeScaling scaling = r.scaling(type, context, original);
        r.read.addAll(List.of("type", "finetuned"));
        r.json.requireKnown(r.read);
        return new Rotary(theta, (int) (dim * partial), scaling);
    }

    /** rope_parameters may hold an object for each kind of layer; they must agree. */
    private static JsonObject sameForAllLayers(JsonObject rope) {
        if (!rope.keys().stream().allMatch(k -> rope.map().get(k) instanceof Map)
                || rope.keys().isEmpty()) {
            return rope;
        }
        if (Set.copyOf(rope.map().values()).size() > 1) {
            throw new IllegalArgumentException(
                    rope.where() + ": rotary positions that differ between layers are not supported");
        }
        return rope.object(rope.keys().iterator().next());
    }

    private RopeScaling scaling(String type, int context, int original) {
        return switch (type) {
            case "default" -> new RopeScaling.None();
            case "linear" -> new RopeScaling.Linear(number("factor"));
            case "dynamic" -> new RopeScaling.Dynamic(number("factor"), context);
            case "llama3" ->
                new RopeScaling.Llama3(
                        number("factor"), number("low_freq_factor"), number("high_freq_factor"), original);
            case "yarn" -> yarn(context, original);
            default ->
                throw json.error(
                        json.has("rope_type") ? "rope_type" : "type", "one of default, linear, dynamic, llama3, yarn");
        };
    }

    private RopeScaling yarn(int context, int original) {
        double factor = numberOr("factor", (double) context / original);
        double usual = RopeScaling.Yarn.magnitude(factor, numberOr("mscale", 0), numberOr("mscale_all_dim", 0));
        return new RopeScaling.Yarn(
                factor,
                original,
                numberOr("beta_fast", 32),
                numberOr("beta_slow", 1),
                numberOr("attention_factor", usual),
                flagOr("truncate", true));
    }

    // ---------------------------------------------------------------- windows

    private int[] windows(Family family, int layers) {
        if (layers > DecoderConfig.MOST_LAYERS) {
            throw json.error("num_hidden_layers", "at most " + DecoderConfig.MOST_LAYERS);
        }
        int[] windows = DecoderConfig.noWindows(layers);
        read.add("layer_types");
        List<String> types = json.has("layer_types") ? json.strings("layer_types") : null;
        if (types != null && types.size() != layers) {
            throw json.error("layer_types", "a list of " + layers + " entries, one for each layer,");
        }
        if (family == Family.LLAMA) {
            if (types != null && types.stream().anyMatch(this::slides)) {
                throw json.error("layer_types", "all full_attention for a llama");
            }
            return windows;
        }
        boolean mistral = family == Family.MISTRAL;
        read.add("sliding_window");
        boolean absent = !json.keys().contains("sliding_window");
        int window = absent ? 4096 : integerOr("sliding_window", 0);
        boolean on = mistral || flagOr("use_sliding_window", false);
        int from = mistral ? 0 : integerOr("max_window_layers", 28);
        for (int i = 0; i < windows.length; i++) {
            boolean slides = types == null ? i >= from : slides(types.get(i));
            windows[i] = on && slides ? window : 0;
        }
        return windows;
    }

    private boolean slides(String type) {
        return switch (type) {
            case "sliding_attention" -> true;
            case "full_attention" -> false;
            default -> throw json.error("layer_types", "made of full_attention and sliding_attention");
        };
    }

    // ---------------------------------------------------------------- values

    private SpecialTokens tokens() {
        int bos = integerOr("bos_token_id", -1), pad = integerOr("pad_token_id", -1);
        read.add("eos_token_id");
        Object eos = json.map().get("eos_token_id");
        int[] ends = eos == null
                ? new int[0]
                : eos instanceof List ? json.integers("eos_token_id") : new int[] {json.integer("eos_token_id")};
        return new SpecialTokens(bos, ends, pad);
    }

    static Activation activation(String name) {
        return Activations.find(name).orElse(null);
    }

    private Activation activation(String key, String usual) {
        Activation a = activation(stringOr(key, usual));
        if (a == null) {
            throw json.error(
                    key, "one of silu, swish, gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, relu, tanh, sigmoid");
        }
        return a;
    }

    private float dropout(String key, double usual) {
        double p = numberOr(key, usual);
        if (p < 0 || p >= 1) {
            throw json.error(key, "a probability below 1");
        }
        return (float) p;
    }

    private int integer(String... spellings) {
        read.addAll(List.of(spellings));
        for (String key : spellings) {
            if (json.has(key)) {
                return json.integer(key);
            }
        }
        return json.integer(spellings[0]);
    }

    private int integerOr(String key, int usual) {
        read.add(key);
        return json.integer(key, usual);
    }

    private double number(String key) {
        read.add(key);
        return json.number(key);
    }

    private double numberOr(String key, double usual) {
        read.add(key);
        return json.number(key, usual);
    }

    private boolean flagOr(String key, boolean usual) {
        read.add(key);
        return json.flag(key, usual);
    }

    private String stringOr(String key, String usual) {
        read.add(key);
        return json.string(key, usual);
    }

    /** Quantised weights describe themselves; all that counts here is that somebody reads them. */
    private void requireReadable() {
        if (!json.has("quantization_config")) {
            return;
        }
        read.add("quantization_config");
        String method = json.object("quantization_config").string("quant_method", "unknown");
        List<String> methods =
                WeightReader.all().stream().map(WeightReader::method).toList();
        if (!methods.contains(method)) {
            throw new IllegalArgumentException(json.where()
                    + ": weights quantised under \"quantization_config\" cannot be read here (quant_method \"" + method
                    + "\"" + (methods.isEmpty() ? "" : ", readable: " + String.join(", ", methods))
                    + "); use a GGUF file or the unquantised model");
        }
    }

    /** Unknown keys are errors, but for those that are null, off, private (an underscore in front) or a classification head's. */
    private void requireUnderstood() {
        requireReadable();
        Set<String> known = new TreeSet<>(read);
        known.addAll(HARMLESS);
        for (String key : json.keys()) {
            if (OFF.contains(key) && !read.contains(key)) {
                requireOff(key);
            } else if (json.has(key) && !known.contains(key) && !key.startsWith("_") && !key.startsWith("summary_")) {
                String near = Json.nearest(key, known)
                        .map(n -> "; the nearest known one is \"" + n + "\"")
                        .orElse("");
                throw new IllegalArgumentException(
                        json.where() + ": unknown key \"" + key + "\" might change what the model computes" + near);
            }
        }
    }

    private void requireOff(String key) {
        Object value = json.map().get(key);
        boolean empty = value instanceof Map<?, ?> m && m.isEmpty() || value instanceof List<?> l && l.isEmpty();
        if (json.has(key) && !empty && !Boolean.FALSE.equals(value)) {
            throw json.error(key, "false");
        }
    }
}
