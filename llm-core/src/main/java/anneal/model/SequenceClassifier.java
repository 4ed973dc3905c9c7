package anneal.model;

import anneal.nn.DenseWeight;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.nn.TaskModel;
import anneal.tensor.NllOptions;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;

/**
 * Says which of C labels a text has: the hidden state of its last token, through one matrix.
 *
 * <pre>
 * t = the last position of a row whose id is not the padding id
 * logits = hidden[t] scoreT                              hidden [B, T, D], score [C, D] -> [B, C]
 * </pre>
 *
 * <p>A causal model has read the whole text only at its last token. The position is found by ids, not by a mask: padding may stand left
 * or right, and a padding id inside a text does not end it. A row of nothing but padding is read at position 0. All as transformers'
 * LlamaForSequenceClassification and its relatives, whose names the parameters have: "model.layers.0..", "score.weight".
 */
public final class SequenceClassifier extends Module implements TaskModel {
    private final Decoder body;
    private final Linear score;
    private final int padding;

    /**
     * A classifier with a fresh head, N(0, initRange^2), that is trained.
     *
     * @param body what reads; its own output projection is not used
     * @param labels C
     * @param padding id that fills rows up; -1 = none, then a batch has one row
     */
    public SequenceClassifier(Decoder body, int labels, int padding, Arena arena, long seed) {
        this(body, fresh(body, labels, arena, seed), padding);
    }

    /** A classifier with this head [C, D]. */
    SequenceClassifier(Decoder body, Linear head, int padding) {
        if (padding >= body.vocabSize()) {
            throw new IllegalArgumentException(
                    "SequenceClassifier: padding id " + padding + " is outside the vocabulary of " + body.vocabSize());
        }
        this.body = child("", body);
        this.padding = padding;
        score = child("score", head);
    }

    private static Linear fresh(Decoder body, int labels, Arena arena, long seed) {
        if (labels < 2) {
            throw new IllegalArgumentException("SequenceClassifier: " + labels + " labels; there must be at least 2");
        }
        Tensor w = Tensor.allocate(arena, Shape.of(labels, body.config().hiddenSize()));
        float[] values = new float[(int) w.size()];
        Rng rng = new Rng(seed);
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (rng.nextGaussian() * body.config().initRange());
        }
        w.set(values);
        return new Linear(new DenseWeight(w.trainable(true)), null);
    }

    /** With the padding id of the model's own config. */
    public SequenceClassifier(Decoder body, int labels, Arena arena, long seed) {
        this(body, labels, body.config().tokens().pad(), arena, seed);
    }

    /** Scores of the labels: logitsBC [B, C]. */
    public Tensor logits(Tokens tokens) {
        return score.forward(Ops.rows(body.hidden(tokens, null), lastTokens(tokens)));
    }

    /** -log p(label) of each row: nllB [B]; 0 where the label is -1. */
    public Tensor nll(Tokens tokens, int[] labels) {
        if (labels.length != tokens.batch()) {
            throw new IllegalArgumentException(
                    "nll: " + labels.length + " labels for a batch of " + tokens.batch() + " rows");
        }
        for (int label : labels) {
            if (label < -1 || label >= labels()) {
                throw new IllegalArgumentException("nll: label " + label + " is not one of 0 .. " + (labels() - 1));
            }
        }
        return Ops.nll(logits(tokens), labels, NllOptions.PLAIN);
    }

    /** The label with the highest score, for each row. */
    public int[] predict(Tokens tokens) {
        Tensor logits = logits(tokens);
        int[] best = new int[tokens.batch()];
        for (int row = 0; row < best.length; row++) {
            for (int c = 1; c < labels(); c++) {
                if (logits.get((long) row * labels() + c) > logits.get((long) row * labels() + best[row])) {
                    best[row] = c;
                }
            }
        }
        return best;
    }

    /** Where the hidden state of each row is read, as a row of [B * T, D]. */
    private int[] lastTokens(Tokens tokens) {
        if (padding < 0 && tokens.batch() > 1) {
            throw new IllegalArgumentException("logits: a batch of " + tokens.batch()
                    + " rows needs a padding id to find the end of each, and this model has none");
        }
        int[] last = new int[tokens.batch()];
        for (int row = 0; row < last.length; row++) {
            int first = row * tokens.length(), t = first + tokens.length() - 1;
            while (t > first && tokens.ids()[t] == padding) {
                t--;
            }
            last[row] = t;
        }
        return last;
    }

    /** What reads the text. */
    public Decoder body() {
        return body;
    }

    /** The matrix from hidden states to labels. */
    @Override
    public Linear head() {
        return score;
    }

    @Override
    public String task() {
        return "SEQ_CLS";
    }

    /** Id that fills rows up; -1 = none. */
    public int padding() {
        return padding;
    }

    /** C. */
    public int labels() {
        return score.out();
    }
}
