package anneal.model;

import anneal.nn.Module;
import anneal.tensor.NllOptions;
import anneal.tensor.Tensor;

/**
 * A model of the next token: the interface that training, alignment, quantisation and generation use.
 *
 * <p>The hinge is {@link #nll}: supervised training, preference losses, reinforcement learning, distillation and perplexity
 * all stand on the negative log-likelihood of given tokens, and it never holds [B, T, V].
 *
 * <p>A model with dropout computes as in training until {@link anneal.tensor.Tape#pause} says otherwise.
 */
public interface CausalLm {
    /**
     * Negative log-likelihood of each target token, computed only where there is one. (An output projection with an adapter or
     * a bias computes the logits of all positions.)
     *
     * @param targets next token of each position [B * T]; -1 = not trained
     * @return nllBT [B, T], 0 where the target is -1
     */
    Tensor nll(Tokens tokens, int[] targets, NllOptions options);

    /** See {@link #nll(Tokens, int[], NllOptions)}, without smoothing. */
    default Tensor nll(Tokens tokens, int[] targets) {
        return nll(tokens, targets, NllOptions.PLAIN);
    }

    /** The last hidden states after the final norm: hiddenBTD. With a cache, its keys come before and these are appended. */
    Tensor hidden(Tokens tokens, KvCache cache);

    /** The whole distribution at some positions. Shapes: hidden [.., D] -> logits [.., V]. */
    Tensor logits(Tensor hidden);

    /** Logits of all positions: logitsBTV. For what needs the whole distribution; training uses {@link #nll}. */
    default Tensor logits(Tokens tokens) {
        return logits(hidden(tokens, null));
    }

    /** An empty cache for this many rows and positions. Close it when done. */
    KvCache cache(int batch, int capacity);

    /** The root of the module tree, for adapters, quantisation and parameter names. */
    Module root();

    /** Number of token ids. */
    int vocabSize();

    /** Longest sequence of tokens that fits, behind a key/value prefix and vectors in front if there are any; 0 = no limit. */
    int contextLength();
}
