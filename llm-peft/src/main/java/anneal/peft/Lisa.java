package anneal.peft;

/**
 * LISA, layer-wise importance sampling: a whole model is trained, but of its blocks only some at a time, which are drawn anew every so
 * many steps.
 *
 * <pre>
 * trained always: embedding, output projection, last norm
 * steps 1 .. every: {@code blocks} different blocks, each as likely as any other; the next {@code every} steps: others, drawn again
 * </pre>
 *
 * <p>Gradients and the optimiser's state exist for what is trained at the time only. State of a block that is frozen is dropped and
 * begins at zero when the block is drawn again, its steps counted from there: so in the authors' runs, which start the optimiser anew
 * for each interval. Embedding and projection keep theirs here. (A trainer that only switches gradients on and off, as PyTorch's do, keeps the
 * states of all blocks.) The random state and the blocks in use stand in checkpoints. Pan et al., arXiv:2403.17919, algorithm 1.
 *
 * <p>Trained are copies in floats, of the whole model, beside the frozen weights, which come back when the adapters are disabled. PEFT has
 * no such method: the file is of a type of ours, "LISA", with the weights under their own names.
 *
 * @param blocks that are trained at a time; 2 in most of the paper's runs, gamma there
 * @param every steps after which they are drawn again, K there
 * @param baseModel name or path of the base model, written into the file for its readers; may be null
 */
public record Lisa(int blocks, int every, String baseModel) implements Method {
    /** A rate to begin with under AdamW: that of training a whole model. */
    public static final double LEARNING_RATE = LastLayers.LEARNING_RATE;

    public Lisa {
        if (blocks < 1) {
            throw new IllegalArgumentException("Lisa: blocks " + blocks + " must be at least 1");
        }
        if (every < 1) {
            throw new IllegalArgumentException("Lisa: every " + every + " must be at least 1");
        }
    }

    /** Trains so many blocks at a time, drawn anew after so many steps. */
    public static Lisa of(int blocks, int every) {
        return new Lisa(blocks, every, null);
    }
}
