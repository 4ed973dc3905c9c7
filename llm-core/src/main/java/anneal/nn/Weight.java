package anneal.nn;

import anneal.kernels.Matrix;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Map;
import java.util.Optional;

/**
 * A matrix [out, in] of a layer, stored in any way: the storage plug of {@link Linear} and {@link Embedding}.
 *
 * <p>Contract: {@code matmulT(x)} equals x times the transpose of {@link #matrix()}, and its gradient flows to x and to those of the
 * {@link #parameters()} that are trained.
 */
public interface Weight {
    /** Output features. */
    int out();

    /** Input features. */
    int in();

    /** y = x wT. Shapes: x [.., in] -> [.., out]. */
    Tensor matmulT(Tensor x);

    /** Rows of the matrix: ids -> [ids, in]. */
    Tensor rows(int[] ids);

    /** The numbers as [out, in], in whatever form they are stored. */
    Matrix matrix();

    /** The tensor that can be trained, if this storage is one that has the numbers of the matrix. */
    Optional<Tensor> parameter();

    /** All tensors that can be trained, by their names in the layer: "weight" for {@link #parameter}. */
    default Map<String, Tensor> parameters() {
        return parameter().map(t -> Map.of("weight", t)).orElse(Map.of());
    }

    /** This weight if it can be trained, else one that can, with the numbers widened into memory of {@code arena}. */
    default Weight trainable(Arena arena) {
        return parameter().isPresent() ? this : dense(arena);
    }

    /** How the numbers are stored: "F32", "Q4_1", "NF4". */
    String format();

    /** Writes row {@code row} of the matrix to the start of {@code dst}, widened to floats. */
    default void row(int row, float[] dst) {
        matrix().widen(row, 0, in(), dst, 0);
    }

    /**
     * Other numbers in the storage of this weight, rounded as the format rounds; empty if the format can only be read.
     *
     * @param numbers [out, in]
     * @param arena where they go
     * @throws IllegalArgumentException if a finite number would become infinite
     */
    default Optional<Weight> like(Matrix numbers, Arena arena) {
        return Optional.empty();
    }

    /** A copy of the numbers as floats in memory, in the order of this storage: what can be trained, or merged into. */
    default Weight dense(Arena arena) {
        return DenseWeight.copy(matrix(), arena);
    }

    /** A copy that is trained in place of this weight, as floats in memory: what this storage holds at zero stays there in it too. */
    default Weight trainableCopy(Arena arena) {
        return dense(arena);
    }

    /**
     * True if {@link #matmulT} is the product with {@link #matrix} itself, so that an adapter may compute it together with its own;
     * false if x is rounded on its way.
     */
    default boolean exact() {
        return true;
    }

    /** How this stands in a Hugging Face folder; empty: as floats, of whatever type the folder is written in. */
    default Optional<FolderForm> folderForm() {
        return Optional.empty();
    }

    /** The matrix [out, in] as blocks that a GGUF file can hold as they are; empty: it is written as floats are. */
    default Optional<Stored> blocks() {
        return Optional.empty();
    }
}
