package anneal.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.kernels.Activation;
import anneal.nn.RopeScaling;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** config.json of old and new transformers; what is not understood is an error. */
class DecoderConfigTest {
    private static JsonObject llama(String... more) {
        Map<String, Object> map = new LinkedHashMap<>(Json.parse("""
                        {"model_type": "llama", "vocab_size": 100, "hidden_size": 64, "intermediate_size": 96,
                         "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
                         "max_position_embeddings": 64, "rms_norm_eps": 1e-5}""", "x").map());
        for (int i = 0; i < more.length; i += 2) {
            map.put(more[i], Json.parseAny(more[i + 1], "x"));
        }
        return new JsonObject(map, "config.json");
    }

    private static DecoderConfig read(String... more) {
        return DecoderConfig.of(llama(more));
    }

    @Test
    void defaultsAreThoseOfTransformers() {
        DecoderConfig c = read();
        assertThat(c.heads()).isEqualTo(new DecoderConfig.Heads(4, 2, 16));
        assertThat(c.rotary()).isEqualTo(new DecoderConfig.Rotary(10_000, 16, new RopeScaling.None()));
        assertThat(c.activation()).isEqualTo(Activation.SILU);
        assertThat(c.tied()).isFalse();
        assertThat(c.biases()).isEqualTo(new DecoderConfig.Biases(false, false, false));
        assertThat(c.windows()).containsExactly(0, 0);
        assertThat(c.tokens().eos()).isEmpty();
    }

    @Test
    void oldAndNewSpellingsOfRotaryScalingAreTheSame() {
        String parameters =
                "\"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 32}";
        DecoderConfig old = read("rope_theta", "500000.0", "rope_scaling", "{\"rope_type\": \"llama3\", " + parameters);
        DecoderConfig now =
                read("rope_parameters", "{\"rope_type\": \"llama3\", \"rope_theta\": 500000.0, " + parameters);
        DecoderConfig nested = read(
                "rope_parameters",
                "{\"full_attention\": {\"rope_type\": \"llama3\", \"rope_theta\": 500000.0, " + parameters + "}");
        DecoderConfig.Rotary expected = new DecoderConfig.Rotary(500_000, 16, new RopeScaling.Llama3(8, 1, 4, 32));
        assertThat(old.rotary()).isEqualTo(expected);
        assertThat(now.rotary()).isEqualTo(expected);
        assertThat(nested.rotary()).isEqualTo(expected);
        assertThat(read("rope_scaling", "{\"type\": \"linear\", \"factor\": 2.0}")
                        .rotary()
                        .scaling())
                .isEqualTo(new RopeScaling.Linear(2));
        assertThat(read("rope_scaling", "null").rotary().scaling()).isEqualTo(new RopeScaling.None());
        assertThat(read("rope_scaling", "{\"type\": \"dynamic\", \"factor\": 2.0}")
                        .limit())
                .isZero();
    }

    @Test
    void yarnHasItsMagnitude() {
        RopeScaling plain = read("rope_scaling", "{\"type\": \"yarn\", \"factor\": 4.0}")
                .rotary()
                .scaling();
        assertThat(plain.magnitude()).isEqualTo(0.1 * Math.log(4) + 1);
        RopeScaling given = read("rope_scaling", "{\"type\": \"yarn\", \"factor\": 4.0, \"attention_factor\": 1.5}")
                .rotary()
                .scaling();
        assertThat(given.magnitude()).isEqualTo(1.5);
        RopeScaling two = read(
                        "rope_scaling",
                        "{\"type\": \"yarn\", \"factor\": 4.0, \"mscale\": 1.0, \"mscale_all_dim\": 0.5}")
                .rotary()
                .scaling();
        assertThat(two.magnitude()).isEqualTo((0.1 * Math.log(4) + 1) / (0.05 * Math.log(4) + 1));
    }

    @Test
    void slidingWindows() {
        assertThat(read("model_type", "\"mistral\"", "sliding_window", "7").windows())
                .containsExactly(7, 7);
        assertThat(read("model_type", "\"mistral\"", "sliding_window", "null").windows())
                .containsExactly(0, 0);
        assertThat(read("model_type", "\"mistral\"").windows()).containsExactly(4096, 4096);
        assertThat(read(
                                "model_type",
                                "\"qwen2\"",
                                "use_sliding_window",
                                "true",
                                "sliding_window",
                                "9",
                                "max_window_layers",
                                "1")
                        .windows())
                .containsExactly(0, 9);
        assertThat(read("model_type", "\"qwen2\"", "sliding_window", "9", "max_window_layers", "0")
                        .windows())
                .containsExactly(0, 0);
        assertThat(read(
                                "model_type",
                                "\"qwen3\"",
                                "use_sliding_window",
                                "true",
                                "sliding_window",
                                "9",
                                "layer_types",
                                "[\"sliding_attention\", \"full_attention\"]")
                        .windows())
                .containsExactly(9, 0);
    }

    @Test
    void endTokensMayBeOneOrSeveral() {
        assertThat(read("eos_token_id", "7").tokens().eos()).containsExactly(7);
        assertThat(read("eos_token_id", "[7, 8]").tokens().eos()).containsExactly(7, 8);
        assertThat(read("eos_token_id", "null").tokens().eos()).isEmpty();
    }

    @Test
    void gpt2InItsOriginalSpelling() {
        DecoderConfig c = DecoderConfig.of(Json.parse("""
                {"activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1, "bos_token_id": 50256,
                 "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02, "layer_norm_epsilon": 1e-05, "model_type": "gpt2",
                 "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024, "resid_pdrop": 0.1,
                 "summary_activation": null, "summary_first_dropout": 0.1, "summary_type": "cls_index",
                 "task_specific_params": {"text-generation": {"do_sample": true, "max_length": 50}}, "vocab_size": 50257}""", "config.json"));
        assertThat(c.parameterCount()).isEqualTo(124_439_808);
        assertThat(c.feedForwardSize()).isEqualTo(3072);
        assertThat(c.tied()).isTrue();
        assertThat(c.dropouts()).isEqualTo(new DecoderConfig.Dropouts(0.1f, 0.1f, 0.1f));
    }

    @TestFactory
    Stream<DynamicTest> whatIsWrittenIsReadBack() {
        return GoldenModel.folders().stream()
                .map(folder -> DynamicTest.dynamicTest(folder.getFileName() + "", () -> same(folder)));
    }

    private static void same(Path folder) {
        DecoderConfig c = DecoderConfig.of(Json.read(folder.resolve("config.json")));
        DecoderConfig back = DecoderConfig.of(Json.parse(Json.text(c.toJson()), "written"));
        assertThat(back).usingRecursiveComparison().isEqualTo(c);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
                    model_type | "lama" | config.json: unknown architecture "lama"; known are gpt2, llama, mistral, qwen2, qwen3
                    residual_multiplier | 0.2 | config.json: unknown key "residual_multiplier" might change what the model computes; the nearest known one is
                    rope_tetha | 5 | config.json: unknown key "rope_tetha" might change what the model computes; the nearest known one is "rope_theta"
                    hidden_act | "mish" | config.json: key "hidden_act" must be one of silu, swish, gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, relu, tanh, sigmoid but is the string "mish"
                    rope_scaling | {"type": "su", "factor": 2.0} | config.json: rope_scaling: key "type" must be one of default, linear, dynamic, llama3, yarn but is the string "su"
                    rope_scaling | {"type": "linear"} | config.json: rope_scaling: key "factor" is missing
                    rope_scaling | {"type": "linear", "factor": 2.0, "ramp": 1} | config.json: rope_scaling: unknown key "ramp"
                    use_mrope | true | config.json: key "use_mrope" must be false but is true
                    pruned_heads | {"1": [2]} | config.json: key "pruned_heads" must be false but is an object
                    layer_types | ["full_attention", "sliding_attention"] | config.json: key "layer_types" must be all full_attention for a llama but is a list
                    rope_interleaved | true | config.json: key "rope_interleaved" must be false but is true
                    quantization_config | {"bits": 4} | config.json: weights quantised under "quantization_config" cannot be read here
                    num_key_value_heads | 3 | config.json: config: num_attention_heads 4 must be a multiple of num_key_value_heads 3
                    num_hidden_layers | -1 | config.json: config: num_hidden_layers must be positive but is -1
                    vocab_size | "many" | config.json: key "vocab_size" must be an integer but is the string "many"
                    attention_dropout | 1.0 | config.json: key "attention_dropout" must be a probability below 1 but is 1.0
                    """)
    void whatIsNotUnderstoodIsAnError(String key, String value, String message) {
        assertThatThrownBy(() -> read(key, value))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith(message);
    }

    @Test
    void aScalingLengthensTheLimit() {
        assertThat(read("rope_scaling", "{\"type\": \"linear\", \"factor\": 4.0}")
                        .limit())
                .isEqualTo(256);
        String yarn = "{\"type\": \"yarn\", \"factor\": 4.0, \"original_max_position_embeddings\": ";
        assertThat(read("rope_scaling", yarn + "64}").limit()).isEqualTo(256);
        assertThat(read("rope_scaling", yarn + "16}").limit()).isEqualTo(64);
        assertThat(read().limit()).isEqualTo(64);
    }

    @Test
    void theOriginalLengthMayStandBesideTheScaling() {
        String llama3 =
                "{\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0}";
        assertThat(read("rope_scaling", llama3, "original_max_position_embeddings", "32")
                        .rotary()
                        .scaling())
                .isEqualTo(new RopeScaling.Llama3(8, 1, 4, 32));
        String dynamic = "{\"type\": \"dynamic\", \"factor\": 2.0, \"original_max_position_embeddings\": 32}";
        assertThat(read("rope_scaling", dynamic).rotary().scaling()).isEqualTo(new RopeScaling.Dynamic(2, 64));
        read("rope_scaling", "{\"type\": \"yarn\", \"factor\": 4.0, \"finetuned\": true}");
    }

    /** Keys of published models that change nothing: Qwen2.5-0.5B, GPT-2 medium, LLaMA 7B, and dumps of old transformers. */
    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
                    qwen2 | use_mrope | false
                    llama | max_sequence_length | 2048
                    llama | n_special | 0
                    llama | predict_special_tokens | true
                    llama | output_past | true
                    llama | is_decoder | false
                    llama | num_beams | 1
                    llama | length_penalty | 1.0
                    llama | typical_p | 1.0
                    llama | pruned_heads | {}
                    llama | use_sliding_window | false
                    llama | layer_types | ["full_attention", "full_attention"]
                    mistral | attention_bias | false
                    mistral | mlp_bias | false
                    """)
    void keysThatChangeNothingPass(String model, String key, String value) {
        assertThat(read("model_type", '"' + model + '"', key, value))
                .usingRecursiveComparison()
                .isEqualTo(read("model_type", '"' + model + '"'));
    }

    @Test
    void harmlessKeysPass() {
        read("_name_or_path", "\"x\"", "transformers.js_config", "{}", "pretraining_tp", "1", "some_new_thing", "null");
    }
}
