package anneal;

import anneal.data.Batch;
import anneal.model.CausalLm;
import anneal.model.Tokens;
import anneal.tensor.NllOptions;
import anneal.tensor.Ops;
import anneal.tensor.Tape;
import anneal.train.Loss;
import anneal.train.Objective;
import java.util.Map;

/**
 * Learning to say the next token: supervised fine-tuning where only answers are targets, pretraining where every token is.
 *
 * <pre>
 * loss = sum over targets of -log p(target | the tokens before it in its segment)
 * </pre>
 *
 * <p>The mean that is reported is over targets, so exp(loss) is the perplexity. Label smoothing and z-loss act while training and not in
 * an evaluation, whose loss stays comparable.
 */
public final class NextToken implements Objective<Batch> {
    private final CausalLm model;
    private final NllOptions options;

    /** The plain negative log-likelihood. */
    public NextToken(CausalLm model) {
        this(model, NllOptions.SUMMED);
    }

    /** With label smoothing or z-loss. */
    public NextToken(CausalLm model, NllOptions options) {
        this.model = model;
        // Every row counts the same here, which saves a product where the projection is trained.
        this.options = new NllOptions(options.smoothing(), options.zLoss(), true);
    }

    /**
     * The loss of a batch, over its targets.
     *
     * @throws IllegalArgumentException naming the samples, if the batch has no target
     */
    @Override
    public Loss apply(Batch batch) {
        int count = batch.trainedTokens();
        if (count == 0) {
            throw new IllegalArgumentException("NextToken: no token to learn in " + batch);
        }
        var nll = model.nll(tokens(batch), batch.targets(), Tape.training() ? options : NllOptions.PLAIN);
        return new Loss(Ops.sum(nll), count, Map.of(Loss.TOKENS, (double) batch.tokens()));
    }

    /** Rows that are one whole sample need no segments and no positions of their own. */
    private static Tokens tokens(Batch batch) {
        for (int segment : batch.segments()) {
            if (segment != 0) {
                return new Tokens(batch.ids(), batch.batch(), batch.length(), batch.positions(), batch.segments());
            }
        }
        return Tokens.of(batch.ids(), batch.batch(), batch.length());
    }
}
