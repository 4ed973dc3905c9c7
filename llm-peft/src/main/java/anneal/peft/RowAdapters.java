package anneal.peft;

import anneal.nn.Adapter;
import anneal.nn.Linear;
import anneal.tensor.Ops;
import anneal.tensor.RowOps;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import java.util.List;

/**
 * Different adapters for the rows of one batch, at one layer: each adapter computes its own rows only, then all are put back into
 * their order. Every row is computed once, and an adapter of any kind computes exactly as it does alone.
 *
 * @param batch rows of the batch
 * @param groups each row in exactly one of them
 */
record RowAdapters(int batch, List<Group> groups) implements Adapter {
    /**
     * Rows that share an adapter.
     *
     * @param adapter null for the layer itself
     * @param rows numbers of rows of the batch
     */
    record Group(LayerAdapter adapter, int[] rows) {
        Tensor apply(Tensor x, Linear base) {
            return adapter == null ? base.plain(x) : adapter.apply(x, base, null);
        }
    }

    @Override
    public Tensor apply(Tensor x, Linear base) {
        Shape.require(
                x.dim(0) == batch,
                "rows",
                x,
                () -> "its first dim must be the rows of the batch, for " + batch + " of which adapters are named");
        if (groups.size() == 1) {
            return groups.getFirst().apply(x, base);
        }
        int length = x.rowCount() / batch;
        Tensor[] parts = new Tensor[groups.size()];
        int[][] places = new int[parts.length][];
        for (int i = 0; i < parts.length; i++) {
            places[i] = vectors(groups.get(i).rows, length);
            parts[i] = groups.get(i).apply(Ops.rows(x, places[i]), base);
        }
        return RowOps.place(parts, places).view(x.shape().withLast(base.out()).dims());
    }

    /** The vectors of x that belong to these rows of {@code length} tokens. */
    private static int[] vectors(int[] rows, int length) {
        int[] vectors = new int[rows.length * length];
        for (int i = 0; i < vectors.length; i++) {
            vectors[i] = rows[i / length] * length + i % length;
        }
        return vectors;
    }
}
