package anneal;

import anneal.model.CausalLm;
import anneal.model.Tokens;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Tape;
import java.util.Arrays;

/**
 * How well a model foresees a text: exp of the mean negative log-likelihood of its tokens.
 *
 * <p>The text is cut into windows that do not overlap; the first token of a window is not predicted, since nothing stands before it.
 *
 * @param nll sum over all predicted tokens, in nats
 * @param tokens how many were predicted
 */
public record Perplexity(double nll, long tokens) {
    /** Windows computed at once. */
    private static final int ROWS = 4;

    /** exp(nll / tokens). */
    public double value() {
        return Math.exp(nll / tokens);
    }

    /**
     * Measures a text.
     *
     * @param window tokens that are seen together, at most the model's context
     */
    public static Perplexity of(CausalLm model, int[] ids, int window) {
        if (window < 2) {
            throw new IllegalArgumentException("perplexity: window " + window + " must be at least 2");
        }
        if (model.contextLength() > 0 && window > model.contextLength()) {
            throw new IllegalArgumentException("perplexity: window " + window + " is over the model's limit of "
                    + model.contextLength() + " positions");
        }
        if (ids.length < 2) {
            throw new IllegalArgumentException(
                    "perplexity: the text has " + ids.length + " tokens, at least 2 are needed");
        }
        double sum = 0;
        long count = 0;
        int whole = ids.length / window;
        for (int w = 0; w < whole; w += ROWS) {
            int rows = Math.min(ROWS, whole - w);
            sum += nll(model, Arrays.copyOfRange(ids, w * window, (w + rows) * window), rows, window);
            count += (long) rows * (window - 1);
        }
        int rest = ids.length - whole * window;
        if (rest > 1) {
            sum += nll(model, Arrays.copyOfRange(ids, whole * window, ids.length), 1, rest);
            count += rest - 1;
        }
        if (!Double.isFinite(sum)) {
            throw new IllegalArgumentException(
                    "perplexity: the model's likelihoods are not finite numbers: the sum of the nll is " + sum);
        }
        return new Perplexity(sum, count);
    }

    private static double nll(CausalLm model, int[] ids, int rows, int length) {
        int[] targets = new int[ids.length];
        for (int i = 0; i < ids.length; i++) {
            targets[i] = i % length == length - 1 ? -1 : ids[i + 1];
        }
        try (Memory.Scope scope = Memory.scope();
                Tape.Pause pause = Tape.pause()) {
            return Ops.sum(model.nll(Tokens.of(ids, rows, length), targets)).item();
        }
    }
}
