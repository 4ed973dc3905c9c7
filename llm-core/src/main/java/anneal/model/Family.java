package anneal.model;

import java.util.Arrays;
import java.util.stream.Collectors;

/**
 * A family of decoders: the names its weight files use, and which of the optional parts it has.
 *
 * <p>Together with the reading of its config.json this is all there is to a family; what is computed stands in {@link Decoder}.
 */
public enum Family {
    /** Radford et al., "Language models are unsupervised multitask learners" (2019). */
    GPT2(
            "gpt2",
            "GPT2LMHeadModel",
            new Names(
                    "transformer.wte",
                    "transformer.wpe",
                    "transformer.h",
                    "transformer.ln_f",
                    new Names.Attention("attn", "ln_1", "c_attn", null, null, null, "c_proj", false),
                    new Names.FeedForward("mlp", "ln_2", null, "c_fc", "c_proj"),
                    true)),
    /** Touvron et al., arXiv:2302.13971; Grattafiori et al., arXiv:2407.21783. */
    LLAMA("llama", "LlamaForCausalLM", Names.llama(false)),
    /** Jiang et al., arXiv:2310.06825: LLaMA with a sliding window. */
    MISTRAL("mistral", "MistralForCausalLM", Names.llama(false)),
    /** Yang et al., arXiv:2407.10671: LLaMA with biases on query, key and value. */
    QWEN2("qwen2", "Qwen2ForCausalLM", Names.llama(false)),
    /** Yang et al., arXiv:2505.09388: LLaMA with norms on query and key heads. */
    QWEN3("qwen3", "Qwen3ForCausalLM", Names.llama(true));

    /**
     * Names of modules.
     *
     * @param embedding table of token vectors
     * @param positions table of learnt positions, or null for rotary models
     * @param layers the list of blocks; block 3 is "{layers}.3"
     * @param norm the final norm
     * @param transposed layers stand as [in, out] in the file, norms are LayerNorms
     */
    record Names(
            String embedding,
            String positions,
            String layers,
            String norm,
            Attention attention,
            FeedForward feedForward,
            boolean transposed) {
        /** Names inside a block; either packed or query, key and value are null. */
        record Attention(
                String module,
                String norm,
                String packed,
                String query,
                String key,
                String value,
                String out,
                boolean headNorms) {}

        /** Names inside a block; gate is null for the plain form. */
        record FeedForward(String module, String norm, String gate, String up, String down) {}

        /** The output projection. */
        String head() {
            return "lm_head";
        }

        private static Names llama(boolean headNorms) {
            return new Names(
                    "model.embed_tokens",
                    null,
                    "model.layers",
                    "model.norm",
                    new Attention(
                            "self_attn", "input_layernorm", null, "q_proj", "k_proj", "v_proj", "o_proj", headNorms),
                    new FeedForward("mlp", "post_attention_layernorm", "gate_proj", "up_proj", "down_proj"),
                    false);
        }
    }

    private final String modelType;
    private final String architecture;
    private final Names names;

    Family(String modelType, String architecture, Names names) {
        this.modelType = modelType;
        this.architecture = architecture;
        this.names = names;
    }

    /** The {@code model_type} of config.json. */
    public String modelType() {
        return modelType;
    }

    /** The class in {@code architectures} of config.json. */
    public String architecture() {
        return architecture;
    }

    Names names() {
        return names;
    }

    /** All values of {@code model_type} that are known. */
    static String known() {
        return Arrays.stream(values()).map(Family::modelType).collect(Collectors.joining(", "));
    }
}
