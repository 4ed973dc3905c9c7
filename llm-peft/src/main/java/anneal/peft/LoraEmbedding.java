package anneal.peft;

import anneal.nn.Embedding;
import anneal.nn.TransposedWeight;
import anneal.nn.Weight;
import anneal.tensor.ColumnOps;
import anneal.tensor.Linalg;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The addition of a token embedding: row + scaling A[:, id] Bt with A [rank, V], B [D, rank]. With DoRA each of the D columns of the
 * table is then given the length that {@code magnitude} [D] says, over all tokens.
 *
 * <p>As in PEFT A is zero and B normal at the start, nothing is dropped, and the file holds the frozen table too.
 */
final class LoraEmbedding implements Embedding.Plug {
    private final Embedding embedding;
    private final Weight original;

    /** The frozen table as floats: what the file holds, and what a file brings. */
    private final Weight table;

    /** The same as a layer from tokens to D has it: [D, V]. */
    private final Weight columns;

    private final Tensor a;
    private final Tensor b;
    private final float scaling;
    private final Magnitude magnitude;
    private final boolean random;

    LoraEmbedding(Embedding embedding, Lora lora, String path) {
        if (embedding.plug() != Embedding.Plug.NONE) {
            throw Tuning.occupied(path);
        }
        this.embedding = embedding;
        original = embedding.weight();
        table = original.dense(Arena.ofAuto());
        columns = new TransposedWeight(table);
        a = LinearTuning.allocate(lora.rank(path), original.out());
        b = LinearTuning.allocate(original.in(), lora.rank(path));
        scaling = (float) lora.scaling(path);
        magnitude = lora.dora() ? new Magnitude(a, b, scaling) : null;
        random = lora.init() == Lora.Init.RANDOM;
    }

    @Override
    public Tensor rows(int[] ids, Tensor plain) {
        Tensor adapted = Ops.addMatmulTInPlace(plain, ColumnOps.gatherColumns(a, ids), b, scaling);
        return magnitude == null ? adapted : magnitude.apply(adapted, columns);
    }

    Map<String, Tensor> parameters() {
        Map<String, Tensor> all = new LinkedHashMap<>();
        all.put("lora_embedding_A", a);
        all.put("lora_embedding_B", b);
        if (magnitude != null) {
            all.put("lora_magnitude_vector", magnitude.vector());
        }
        return all;
    }

    Map<String, Tensor> stored() {
        Map<String, Tensor> all = parameters();
        all.put("base_layer.weight", table.parameter().orElseThrow());
        return all;
    }

    void init(Rng rng) {
        if (random) {
            Inits.normal(a, 1, rng);
        }
        Inits.normal(b, 1, rng);
        if (magnitude != null) {
            magnitude.start(columns);
        }
    }

    void plug(boolean in) {
        embedding.plug(in ? this : Embedding.Plug.NONE);
        embedding.weight(in ? table : original);
    }

    /** The table with the addition in it; the plug is taken out. */
    void merge() {
        Weight merged = merged();
        plug(false);
        embedding.weight(merged);
    }

    /** The same in the storage that the model's table has. */
    MergeReport.Layer mergeStored(String path) {
        StoredMerge stored = StoredMerge.of(path, original, merged());
        plug(false);
        embedding.weight(stored.weight());
        return stored.layer();
    }

    private Weight merged() {
        Weight merged = table.dense(Arena.ofAuto());
        Tensor rows = merged.parameter().orElseThrow();
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            Ops.addMatmulTInPlace(rows, Linalg.transposed(a), b, scaling);
            if (magnitude != null) {
                Tensor turned = Linalg.transposed(rows);
                magnitude.applyTo(turned);
                rows.set(Linalg.transposed(turned));
            }
        }
        return merged;
    }
}
