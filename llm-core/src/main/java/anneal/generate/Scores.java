package anneal.generate;

import anneal.model.CausalLm;
import anneal.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.stream.IntStream;

/** Scores of the next token, and the checks before there are any. */
final class Scores {
    private Scores() {}

    /** A copy of a row of logits [B, V]. */
    static float[] row(Tensor logits, int b) {
        float[] row = new float[logits.rowSize()];
        MemorySegment.copy(logits.buf(), ValueLayout.JAVA_FLOAT, 4L * b * row.length, row, 0, row.length);
        return row;
    }

    static void requirePrompt(int[] prompt, CausalLm model) {
        if (prompt.length == 0) {
            throw new IllegalArgumentException("generate: a prompt is empty; begin with the begin-of-text token");
        }
        int limit = model.contextLength();
        if (limit > 0 && prompt.length >= limit) {
            throw new IllegalArgumentException("generate: a prompt of " + prompt.length
                    + " tokens leaves no room in the model's context of " + limit);
        }
    }

    /**
     * The tokens that end a text: the model's own, as far as it has them, and those that are asked for. Tokens that are asked
     * for and do not exist are an error.
     */
    static int[] ends(int[] own, Sampling sampling, CausalLm model) {
        int vocabulary = model.vocabSize();
        requireTokens(sampling.ends(), vocabulary);
        requireTokens(sampling.suppressed(), vocabulary);
        sampling.banned().forEach(sequence -> requireTokens(sequence, vocabulary));
        return IntStream.concat(Arrays.stream(own).filter(t -> t < vocabulary), Arrays.stream(sampling.ends()))
                .distinct()
                .toArray();
    }

    private static void requireTokens(int[] tokens, int vocabulary) {
        for (int t : tokens) {
            if (t < 0 || t >= vocabulary) {
                throw new IllegalArgumentException(
                        "generate: token " + t + " is outside the model's vocabulary of " + vocabulary);
            }
        }
    }
}
