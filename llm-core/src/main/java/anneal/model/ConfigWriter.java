package anneal.model;

import anneal.kernels.Activation;
import anneal.nn.RopeScaling;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A {@link DecoderConfig} as the config.json that transformers reads; the weights beside it are f32. */
final class ConfigWriter {
    private ConfigWriter() {}

    static Map<String, Object> write(DecoderConfig c) {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("architectures", List.of(c.family().architecture()));
        json.put("model_type", c.family().modelType());
        if (c.family() == Family.GPT2) {
            gpt2(json, c);
        } else {
            llama(json, c);
        }
        json.put("vocab_size", c.vocabSize());
        json.put("initializer_range", c.initRange());
        json.put("tie_word_embeddings", c.tied());
        json.put("bos_token_id", c.tokens().bos() < 0 ? null : c.tokens().bos());
        json.put("eos_token_id", ids(c.tokens().eos()));
        json.put("pad_token_id", c.tokens().pad() < 0 ? null : c.tokens().pad());
        json.put("torch_dtype", "float32");
        return json;
    }

    /** Null, an id, or a list of them. */
    static Object ids(int[] ids) {
        return switch (ids.length) {
            case 0 -> null;
            case 1 -> ids[0];
            default -> Arrays.stream(ids).boxed().toList();
        };
    }

    private static void gpt2(Map<String, Object> json, DecoderConfig c) {
        json.put("n_embd", c.hiddenSize());
        json.put("n_head", c.heads().query());
        json.put("n_layer", c.layers());
        json.put("n_inner", c.feedForwardSize());
        json.put("n_positions", c.contextLength());
        json.put("activation_function", name(c.activation()));
        json.put("layer_norm_epsilon", c.normEps());
        json.put("scale_attn_weights", c.scaleScores());
        json.put("scale_attn_by_inverse_layer_idx", c.scaleByLayer());
        json.put("embd_pdrop", decimal(c.dropouts().embedding()));
        json.put("resid_pdrop", decimal(c.dropouts().residual()));
        json.put("attn_pdrop", decimal(c.dropouts().attention()));
    }

    private static void llama(Map<String, Object> json, DecoderConfig c) {
        json.put("hidden_size", c.hiddenSize());
        json.put("intermediate_size", c.feedForwardSize());
        json.put("num_hidden_layers", c.layers());
        json.put("num_attention_heads", c.heads().query());
        json.put("num_key_value_heads", c.heads().kv());
        json.put("head_dim", c.heads().dim());
        json.put("max_position_embeddings", c.contextLength());
        json.put("hidden_act", name(c.activation()));
        json.put("rms_norm_eps", c.normEps());
        json.put("attention_dropout", decimal(c.dropouts().attention()));
        if (c.family() == Family.LLAMA || c.family() == Family.QWEN3) {
            json.put("attention_bias", c.biases().queryKeyValue());
        }
        if (c.family() == Family.LLAMA) {
            json.put("mlp_bias", c.biases().feedForward());
        }
        windows(json, c);
        rotary(json, c);
    }

    private static void windows(Map<String, Object> json, DecoderConfig c) {
        int window = Arrays.stream(c.windows()).max().orElse(0);
        if (c.family() == Family.MISTRAL) {
            json.put("sliding_window", window == 0 ? null : window);
        } else if (c.family() != Family.LLAMA) {
            json.put("use_sliding_window", window > 0);
            json.put("sliding_window", window == 0 ? null : window);
            List<String> types = new ArrayList<>();
            for (int w : c.windows()) {
                types.add(w > 0 ? "sliding_attention" : "full_attention");
            }
            json.put("layer_types", types);
        }
    }

    /** In the old spelling, which old and new versions of transformers read. */
    private static void rotary(Map<String, Object> json, DecoderConfig c) {
        DecoderConfig.Rotary r = c.rotary();
        json.put("rope_theta", r.theta());
        if (r.channels() != c.heads().dim()) {
            json.put("partial_rotary_factor", (double) r.channels() / c.heads().dim());
        }
        Map<String, Object> s = new LinkedHashMap<>();
        switch (r.scaling()) {
            case RopeScaling.None n -> {}
            case RopeScaling.Linear l -> s.putAll(Map.of("rope_type", "linear", "factor", l.factor()));
            case RopeScaling.Dynamic d -> s.putAll(Map.of("rope_type", "dynamic", "factor", d.factor()));
            case RopeScaling.Llama3 l -> {
                s.put("rope_type", "llama3");
                s.put("factor", l.factor());
                s.put("low_freq_factor", l.low());
                s.put("high_freq_factor", l.high());
                s.put("original_max_position_embeddings", l.original());
            }
            case RopeScaling.Yarn y -> {
                s.put("rope_type", "yarn");
                s.put("factor", y.factor());
                s.put("original_max_position_embeddings", y.original());
                s.put("beta_fast", y.betaFast());
                s.put("beta_slow", y.betaSlow());
                s.put("attention_factor", y.magnitude());
                s.put("truncate", y.truncate());
            }
            case RopeScaling.Factors f ->
                throw new IllegalArgumentException(
                        "config.json cannot express the rotary factors of this GGUF file: they are not those of llama3");
        }
        json.put("rope_scaling", s.isEmpty() ? null : s);
    }

    private static String name(Activation a) {
        return switch (a) {
            case SILU -> "silu";
            case GELU -> "gelu";
            case GELU_TANH -> "gelu_new";
            case RELU -> "relu";
            case TANH -> "tanh";
            case SIGMOID -> "sigmoid";
            case EXP, LOG_SIGMOID -> throw new IllegalArgumentException("config.json has no name for " + a);
        };
    }

    /** The shortest decimal that is this float: 0.1, not 0.10000000149. */
    private static double decimal(float x) {
        return Double.parseDouble(Float.toString(x));
    }
}
