package anneal.model;

import anneal.nn.Weight;
import anneal.tensor.Tensor;

/** Where a model that is being built gets its numbers: a file, or a random start. */
public interface WeightSource {
    /** What a matrix is for: a random start depends on it, and how it lies in a file. */
    enum Role {
        /** A table of vectors [V, D]. */
        EMBEDDING,
        /** A layer inside a block. */
        LINEAR,
        /** The layer that closes a branch of a block and is added to the stream. */
        RESIDUAL,
        /** The output projection [V, D]. */
        HEAD
    }

    /** The matrix [out, in] under this name. */
    Weight matrix(String name, int out, int in, Role role);

    /** The vector under this name; {@code fresh} is what each element starts with in a new model. */
    Tensor vector(String name, int size, float fresh);
}
