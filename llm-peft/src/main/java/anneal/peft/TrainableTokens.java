package anneal.peft;

import java.util.HashSet;
import java.util.List;

/**
 * Trainable tokens: the embedding vectors of some tokens are trained, all else stays frozen.
 *
 * <pre>
 * x = rows[k] for the k-th of the tokens, embedding[id] for all others          rows [tokens, D]
 * </pre>
 *
 * <p>Rows start as the embedding's own, so a fresh adapter changes nothing. For new tokens (roles of a chat, control codes) whose vectors
 * mean nothing yet. Where the output projection is the embedding, it reads the new rows too, and their gradient is the sum of both uses;
 * the loss then holds all logits. Options and files are those of PEFT's TrainableTokensConfig: what PEFT calls
 * "trainable_tokens_delta" are the rows themselves, and a tied projection's name holds them once more.
 *
 * @param tokens ids whose vectors are trained
 * @param targets the embedding, of which there must be one; null for the model's first one, that of the tokens
 * @param random rows start as standard normal numbers: not an identity, for tests
 * @param baseModel name or path of the base model, written into the file for its readers; may be null
 */
public record TrainableTokens(List<Integer> tokens, Targets targets, boolean random, String baseModel)
        implements Method {
    /** A rate to begin with under AdamW: ours, ten times LoRA's usual 2e-4: few numbers, each trained at few positions. */
    public static final double LEARNING_RATE = 2e-3;

    public TrainableTokens {
        tokens = List.copyOf(tokens);
        if (tokens.isEmpty()) {
            throw new IllegalArgumentException("TrainableTokens: give the ids of the tokens to train");
        }
        if (new HashSet<>(tokens).size() < tokens.size()) {
            throw new IllegalArgumentException("TrainableTokens: ids " + tokens + " must be different");
        }
    }

    /** These tokens of the model's token embedding. */
    public static TrainableTokens of(Integer... tokens) {
        return new TrainableTokens(List.of(tokens), null, false, null);
    }
}
