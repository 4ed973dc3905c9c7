package anneal.peft;

import anneal.io.JsonObject;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/**
 * Files of the methods that put vectors in front: one tensor, "prompt_embeddings", without a prefix, and sizes of the model that it is
 * for. The sizes are let pass: a tensor that does not fit the model is an error with both shapes.
 */
abstract class VirtualTokensFile<M extends Method> extends AdapterFile<M> {
    private static final String COUNT = "num_virtual_tokens", SUBMODULES = "num_transformer_submodules";

    VirtualTokensFile(String type, Class<M> method, Set<String> read, Set<String> tell) {
        super(
                type,
                method,
                with(read, COUNT, SUBMODULES),
                Set.of("modules_to_save"),
                with(tell, "token_dim", "num_layers", "num_attention_heads"));
    }

    private static Set<String> with(Set<String> keys, String... more) {
        Set<String> all = new TreeSet<>(keys);
        all.addAll(Set.of(more));
        return all;
    }

    @Override
    String prefix() {
        return "";
    }

    /** P; in an encoder-decoder model the vectors would stand twice. */
    static int count(JsonObject o) {
        if (o.integer(SUBMODULES, 1) != 1) {
            throw o.error(SUBMODULES, "1, a decoder");
        }
        return o.integer(COUNT);
    }

    static void put(Map<String, Object> o, int count, VirtualTokens.Sizes sizes) {
        o.put(COUNT, count);
        o.put(SUBMODULES, 1);
        o.put("token_dim", sizes.tokenDim());
        o.put("num_layers", sizes.layers());
        o.put("num_attention_heads", sizes.heads());
        o.put("modules_to_save", null);
    }

    /** {@link PrefixTuning} in a file. */
    static final class Prefix extends VirtualTokensFile<PrefixTuning> {
        private static final String PROJECTION = "prefix_projection",
                HIDDEN = "encoder_hidden_size",
                INIT = "init_weights";

        Prefix() {
            super("PREFIX_TUNING", PrefixTuning.class, Set.of(PROJECTION, HIDDEN, INIT), Set.of());
        }

        @Override
        PrefixTuning read(JsonObject o, String baseModel) {
            int hidden = o.flag(PROJECTION, false) ? o.integer(HIDDEN) : 0; // without a projection, PEFT writes it too
            PrefixTuning.Init init = switch (o.string(INIT, "")) {
                case "" -> PrefixTuning.Init.RANDOM;
                case "zero" -> PrefixTuning.Init.ZERO_VALUES;
                default -> throw o.error(INIT, "null or zero");
            };
            return new PrefixTuning(count(o), hidden, init, baseModel);
        }

        @Override
        void write(Map<String, Object> o, PrefixTuning method, Tuning tuning) {
            VirtualTokens.Sizes sizes = ((VirtualTokens) tuning).sizes();
            put(o, method.virtualTokens(), sizes);
            o.put(PROJECTION, method.projection() > 0);
            o.put(HIDDEN, method.projection() > 0 ? method.projection() : sizes.tokenDim());
            o.put(INIT, method.init() == PrefixTuning.Init.RANDOM ? null : "zero");
        }
    }

    /** {@link PromptTuning} in a file. */
    static final class Prompt extends VirtualTokensFile<PromptTuning> {
        private static final String INIT = "prompt_tuning_init",
                TEXT = "prompt_tuning_init_text",
                TOKENIZER = "tokenizer_name_or_path";

        Prompt() {
            super("PROMPT_TUNING", PromptTuning.class, Set.of(INIT, TEXT, TOKENIZER), Set.of("tokenizer_kwargs"));
        }

        @Override
        PromptTuning read(JsonObject o, String baseModel) {
            PromptTuning.Init init = switch (o.string(INIT, "RANDOM")) {
                case "RANDOM" -> new PromptTuning.Init.Random();
                case "SAMPLE_VOCAB" -> new PromptTuning.Init.SampledVocabulary();
                case "TEXT" -> new PromptTuning.Init.Text(o.string(TEXT), o.string(TOKENIZER), java.util.List.of());
                default -> throw o.error(INIT, "RANDOM, SAMPLE_VOCAB or TEXT");
            };
            return new PromptTuning(count(o), init, baseModel);
        }

        @Override
        void write(Map<String, Object> o, PromptTuning method, Tuning tuning) {
            put(o, method.virtualTokens(), ((VirtualTokens) tuning).sizes());
            o.put(
                    INIT,
                    switch (method.init()) {
                        case PromptTuning.Init.Random _ -> "RANDOM";
                        case PromptTuning.Init.SampledVocabulary _ -> "SAMPLE_VOCAB";
                        case PromptTuning.Init.Text _ -> "TEXT";
                    });
            PromptTuning.Init.Text text = method.init() instanceof PromptTuning.Init.Text t ? t : null;
            o.put(TEXT, text == null ? null : text.text());
            o.put(TOKENIZER, text == null ? null : text.tokenizer());
            o.put("tokenizer_kwargs", null);
        }
    }

    /** {@link PTuning} in a file. */
    static final class P extends VirtualTokensFile<PTuning> {
        private static final String ENCODER = "encoder_reparameterization_type",
                HIDDEN = "encoder_hidden_size",
                LAYERS = "encoder_num_layers",
                DROPOUT = "encoder_dropout";

        P() {
            super("P_TUNING", PTuning.class, Set.of(ENCODER, HIDDEN, LAYERS, DROPOUT), Set.of());
        }

        @Override
        PTuning read(JsonObject o, String baseModel) {
            PTuning.Encoder encoder = switch (o.string(ENCODER, "MLP")) {
                case "MLP" -> PTuning.Encoder.MLP;
                case "LSTM" -> PTuning.Encoder.LSTM;
                default -> throw o.error(ENCODER, "MLP or LSTM");
            };
            int hidden = o.integer(HIDDEN, 0), layers = o.integer(LAYERS, PTuning.USUAL_LAYERS);
            double dropout = o.number(DROPOUT, 0);
            if (encoder == PTuning.Encoder.MLP && (layers != PTuning.USUAL_LAYERS || dropout != 0)) {
                LOG.warn("{}: {} and {} say nothing about an MLP (ignored, as PEFT does)", o.where(), LAYERS, DROPOUT);
                return new PTuning(count(o), encoder, hidden, PTuning.USUAL_LAYERS, 0, baseModel);
            }
            return new PTuning(count(o), encoder, hidden, layers, dropout, baseModel);
        }

        @Override
        void write(Map<String, Object> o, PTuning method, Tuning tuning) {
            VirtualTokens.Sizes sizes = ((VirtualTokens) tuning).sizes();
            put(o, method.virtualTokens(), sizes);
            o.put(ENCODER, method.encoder().name());
            o.put(HIDDEN, method.hiddenSize() == 0 ? sizes.tokenDim() : method.hiddenSize());
            o.put(LAYERS, method.layers());
            o.put(DROPOUT, method.dropout());
        }
    }
}
