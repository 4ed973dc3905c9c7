package anneal.peft;

import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Tensor;
import java.util.Map;

/**
 * Makes the P vectors that stand in front of a text out of what is trained.
 *
 * <p>A file holds the vectors, not the encoder: what is read from one is a {@link PromptTable}.
 */
interface PromptEncoder {
    /** The vectors [P, W]. */
    Tensor vectors();

    /** Columns from .. from + count of the vectors [P, count], without the others where that saves work. */
    default Tensor columns(int from, int count) {
        return Ops.columns(vectors(), from, count);
    }

    /** What is trained, by the end of its name: "embedding.weight". */
    Map<String, Tensor> parameters();

    /** First numbers as PyTorch has them for the same layers: N(0, 1) for tables, uniform by the fan-in for the rest. */
    void init(Rng rng);
}
