package anneal.quant;

import anneal.kernels.Matrix;
import anneal.nn.FolderForm;
import anneal.nn.Weight;
import anneal.tensor.Ops;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/**
 * A matrix held as two thin ones: y = (x vT) uT, k (out + in) numbers and as many multiplications in place of out in.
 *
 * <p>Both can be trained, under the names weight_u and weight_v of their layer. Folders hold them so, see {@link LowRankFile}; a GGUF
 * file has no such form and gets the product.
 *
 * @param u [out, k]
 * @param v [k, in]
 */
public record LowRankWeight(Weight u, Weight v) implements Weight {
    public LowRankWeight {
        if (u.in() != v.out()) {
            throw new IllegalArgumentException("low rank: [" + u.out() + ", " + u.in() + "] and [" + v.out() + ", "
                    + v.in() + "] are no factors of one matrix");
        }
    }

    /** k. */
    public int rank() {
        return v.out();
    }

    @Override
    public int out() {
        return u.out();
    }

    @Override
    public int in() {
        return v.in();
    }

    @Override
    public Tensor matmulT(Tensor x) {
        return u.matmulT(v.matmulT(x));
    }

    @Override
    public Tensor rows(int[] ids) {
        Tensor some = u.rows(ids);
        return v.parameter().map(t -> Ops.matmul(some, t)).orElseGet(() -> Ops.matmul(some, v.matrix()));
    }

    @Override
    public Matrix matrix() {
        return new ProductMatrix(u.matrix(), v.matrix());
    }

    /** None: there are two, see {@link #parameters}. */
    @Override
    public Optional<Tensor> parameter() {
        return Optional.empty();
    }

    @Override
    public Map<String, Tensor> parameters() {
        Map<String, Tensor> both = new LinkedHashMap<>();
        u.parameter().ifPresent(t -> both.put(LowRankFile.U, t));
        v.parameter().ifPresent(t -> both.put(LowRankFile.V, t));
        return both;
    }

    @Override
    public Weight trainable(Arena arena) {
        return new LowRankWeight(u.trainable(arena), v.trainable(arena));
    }

    @Override
    public String format() {
        return "LOW-RANK";
    }

    /** One product with the matrix would undo what the factors save. */
    @Override
    public boolean exact() {
        return false;
    }

    @Override
    public Optional<FolderForm> folderForm() {
        return Optional.of(new LowRankFile.Form(this));
    }
}
