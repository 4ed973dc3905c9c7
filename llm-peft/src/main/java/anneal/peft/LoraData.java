package anneal.peft;

import anneal.nn.Linear;
import anneal.nn.Weight;
import anneal.tensor.Linalg;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What a run of the model over data tells about each layer, for a {@link LoraInit} that needs it. */
final class LoraData {
    private LoraData() {}

    /** Sums over the inputs of one layer; the sum of products [in, in] and the sum [in] are kept, not the inputs. */
    static final class Inputs {
        private final Tensor products;
        private final double[] sums;
        private long count;

        Inputs(int in) {
            products = LinearTuning.allocate(in, in);
            sums = new double[in];
        }

        void add(Tensor x) {
            try (var _ = Memory.scope();
                    var _ = Tape.pause()) {
                Tensor rows = x.detach().view(x.rowCount(), x.rowSize());
                Tensor turned = Linalg.transposed(rows);
                products.set(Ops.add(products, Ops.matmul(turned, rows)));
                for (long i = 0; i < rows.size(); i++) {
                    sums[(int) (i % sums.length)] += rows.get(i);
                }
                count += rows.dim(0);
            }
        }

        /** Vectors that were seen. */
        long count() {
            return count;
        }

        /** Mean of products minus product of means [in, in]; call it once, it is made in the memory of the sums. */
        Tensor covariance(String path) {
            if (count == 0) {
                throw new IllegalArgumentException("eva: the batch did not pass through " + path);
            }
            float[] c = products.toArray();
            int n = sums.length;
            for (int i = 0; i < c.length; i++) {
                c[i] = (float) (c[i] / count - sums[i / n] / count * (sums[i % n] / count));
            }
            products.set(c);
            return products;
        }
    }

    /** For {@link LoraInit.Eva}: what passed through each layer, by path. */
    static Map<String, Inputs> inputs(Map<String, Linear> targets, Runnable batch) {
        Map<String, Inputs> inputs = new LinkedHashMap<>();
        targets.forEach((path, linear) -> inputs.put(path, new Inputs(linear.in())));
        try {
            targets.forEach((path, linear) -> linear.adapter((x, base) -> {
                inputs.get(path).add(x);
                return base.plain(x);
            }));
            batch.run();
        } finally {
            targets.values().forEach(linear -> linear.adapter(anneal.nn.Adapter.NONE));
        }
        return inputs;
    }

    /** For {@link LoraInit.LoraGa}: the gradient of each matrix [out, in], by path. */
    static Map<String, Tensor> gradients(Map<String, Linear> targets, Runnable batch) {
        List<Weight> before = new ArrayList<>();
        targets.values().forEach(linear -> before.add(linear.weight()));
        Map<String, Tensor> all = new LinkedHashMap<>();
        try {
            targets.values().forEach(linear -> {
                linear.weight(linear.weight().dense(Arena.ofAuto()));
                linear.weight().parameter().orElseThrow().trainable(true);
            });
            batch.run();
            targets.forEach((path, linear) -> {
                Tensor w = linear.weight().parameter().orElseThrow();
                if (!w.hasGrad()) {
                    throw new IllegalArgumentException(
                            "lora_ga: the batch left no gradient at " + path + ": it must run forward and backward");
                }
                all.put(path, LinearTuning.upright(linear.weight(), w.grad()));
            });
        } finally {
            int i = 0;
            for (Linear linear : targets.values()) {
                linear.weight(before.get(i++));
            }
        }
        return all;
    }
}
