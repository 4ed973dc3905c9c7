package anneal.nn;

import anneal.kernels.Matrix;
import anneal.tensor.DType;
import java.lang.foreign.Arena;
import java.util.Optional;
import java.util.ServiceLoader;

/**
 * Rounds numbers into the blocks of a quantised {@link DType}: a plug of {@link StoredWeight#like}, found by {@link ServiceLoader}, so
 * that who reads such blocks need not know how they are made.
 */
public interface BlockWriter {
    /**
     * A matrix in blocks.
     *
     * @param numbers [out, in]
     * @param arena where the blocks go
     * @return empty if it does not write this type
     * @throws IllegalArgumentException if a number is not finite or rows are no whole blocks
     */
    Optional<Matrix> write(DType type, Matrix numbers, Arena arena);

    /** By the first writer on the class path that knows the type; empty if none does. */
    static Optional<Matrix> byAny(DType type, Matrix numbers, Arena arena) {
        return ServiceLoader.load(BlockWriter.class, BlockWriter.class.getClassLoader()).stream()
                .map(provider -> provider.get().write(type, numbers, arena))
                .flatMap(Optional::stream)
                .findFirst();
    }
}
