package anneal.generate;

import anneal.model.CausalLm;
import anneal.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

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
}
