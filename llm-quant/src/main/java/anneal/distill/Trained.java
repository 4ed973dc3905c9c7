package anneal.distill;

import anneal.data.Batch;
import anneal.model.Tokens;
import anneal.tensor.Ops;
import anneal.tensor.Tensor;
import java.util.Arrays;
import java.util.stream.IntStream;

/**
 * The positions of a batch that are learnt: only they are compared.
 *
 * @param tokens the batch as a model reads it
 * @param positions of the targets in [B * T]
 * @param targets the tokens to be said there
 */
record Trained(Tokens tokens, int[] positions, int[] targets) {
    static Trained of(Batch batch) {
        int[] targets = batch.targets();
        int[] positions =
                IntStream.range(0, targets.length).filter(i -> targets[i] >= 0).toArray();
        if (positions.length == 0) {
            throw new IllegalArgumentException("distillation: no token to learn in " + batch);
        }
        return new Trained(
                new Tokens(batch.ids(), batch.batch(), batch.length(), batch.positions(), batch.segments()),
                positions,
                Arrays.stream(positions).map(i -> targets[i]).toArray());
    }

    /** Shapes: x [B, T, D] or [B * T] -> [positions, D]. */
    Tensor rows(Tensor x) {
        int n = tokens.batch() * tokens.length();
        return Ops.rows(x.view(n, Math.toIntExact(x.size() / n)), positions);
    }
}
