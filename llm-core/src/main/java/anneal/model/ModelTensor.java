package anneal.model;

import anneal.io.StoredTensor;
import anneal.io.TensorEntry;
import anneal.kernels.F32Matrix;
import anneal.kernels.Matrix;
import anneal.nn.DenseWeight;
import anneal.nn.Embedding;
import anneal.nn.FolderForm;
import anneal.nn.Linear;
import anneal.nn.Norm;
import anneal.nn.Stored;
import anneal.nn.Weight;
import anneal.tensor.DType;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * A tensor of a model that is about to be written; its numbers are widened when their turn comes.
 *
 * @param name "model.norm.weight"
 * @param matrix the numbers [out, in]; a vector is one column
 * @param vector true for a tensor of one dim
 * @param weight what the matrix is stored in, null for a vector
 */
record ModelTensor(String name, Matrix matrix, boolean vector, Weight weight) {
    /** True if the projection is the embedding: the config says so, and nothing was merged into one of them since. */
    static boolean tied(Decoder model) {
        return model.config().tied()
                && model.head().weight() == model.embedding().weight();
    }

    /** All tensors of a model, each once: a tied projection is not written. */
    static List<ModelTensor> of(Decoder model) {
        List<ModelTensor> all = new ArrayList<>();
        model.walk((path, module) -> {
            switch (module) {
                case Linear l -> {
                    if (l != model.head() || !tied(model)) {
                        all.add(of(path, l.weight()));
                    }
                    add(all, path + ".bias", l.bias());
                }
                case Embedding e -> all.add(of(path, e.weight()));
                case Norm n -> {
                    add(all, path + ".weight", n.weight());
                    add(all, path + ".bias", n.own().bias());
                }
                default -> {}
            }
        });
        return all;
    }

    /** The matrix of the layer with this path. */
    static ModelTensor of(String path, Weight weight) {
        return new ModelTensor(path + ".weight", weight.matrix(), false, weight);
    }

    /** Path of the layer: the name without ".weight". */
    String layer() {
        return name.substring(0, name.lastIndexOf('.'));
    }

    /** How the weight stands in a folder, if not as one tensor of floats. */
    Optional<FolderForm> folderForm() {
        return Optional.ofNullable(weight).flatMap(Weight::folderForm);
    }

    private static void add(List<ModelTensor> all, String name, Tensor vector) {
        if (vector != null) {
            all.add(new ModelTensor(name, new F32Matrix(vector.buf(), (int) vector.size(), 1), true, null));
        }
    }

    /** The tensor as f32, with row {@code order[i]} (of a vector: element) in place i; null = as it is. */
    TensorEntry entry(String as, int[] order) {
        long[] shape = vector ? new long[] {matrix.rows()} : new long[] {matrix.rows(), matrix.cols()};
        return TensorEntry.lazy(as, DType.F32, shape, () -> floats(order));
    }

    /** The tensor as GGUF holds it: its blocks if it has some, else as {@link #entry}. Rows are moved whole. */
    TensorEntry ggufEntry(String as, int[] order) {
        Stored blocks = weight == null ? null : weight.blocks().orElse(null);
        if (blocks == null) {
            return entry(as, order);
        }
        StoredTensor tensor = new StoredTensor(as, blocks.dtype(), blocks.shape(), blocks.data());
        return order == null ? tensor : tensor.permuteRows(order, Arena.ofAuto());
    }

    /** The tensor as f32, standing as [in, out]. */
    TensorEntry turned(String as) {
        long[] shape = {matrix.cols(), matrix.rows()};
        return TensorEntry.lazy(
                as,
                DType.F32,
                shape,
                () -> DenseWeight.turned(matrix, Arena.ofAuto()).tensor().buf());
    }

    private MemorySegment floats(int[] order) {
        Arena arena = Arena.ofAuto();
        DenseWeight floats = order == null ? DenseWeight.copy(matrix, arena) : DenseWeight.rows(matrix, order, arena);
        return floats.tensor().buf();
    }
}
