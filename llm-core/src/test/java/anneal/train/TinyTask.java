package anneal.train;

import anneal.kernels.Activation;
import anneal.tensor.NllOptions;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.IntFunction;

/** A classifier of one hidden layer with dropout, and data it can learn by heart: the smallest thing that trains. */
final class TinyTask implements AutoCloseable {
    static final int INPUTS = 12, HIDDEN = 20, CLASSES = 5;

    /** Some examples; a label of -1 is not trained. */
    record Examples(String name, float[] x, int[] labels) {
        @Override
        public String toString() {
            return name;
        }
    }

    private final Arena arena = Arena.ofShared();
    final Map<String, Tensor> parameters = new LinkedHashMap<>();
    float dropout = 0;

    TinyTask() {
        Rng rng = new Rng(3);
        add("in.weight", rng, 0.5, HIDDEN, INPUTS);
        add("in.bias", rng, 0.1, HIDDEN);
        add("out.weight", rng, 0.5, CLASSES, HIDDEN);
    }

    private void add(String name, Rng rng, double spread, int... dims) {
        Tensor p = Tensor.allocate(arena, Shape.of(dims));
        float[] values = new float[(int) p.size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (spread * rng.nextGaussian());
        }
        p.set(values);
        parameters.put(name, p);
    }

    Loss loss(Examples examples) {
        int rows = examples.labels.length;
        Tensor x = Tensor.of(examples.x, rows, INPUTS);
        Tensor h = Ops.addBiasInPlace(Ops.matmulT(x, parameters.get("in.weight")), parameters.get("in.bias"));
        h = Ops.dropout(Ops.activation(h, Activation.SILU), dropout);
        Tensor nll = Ops.nll(h, parameters.get("out.weight"), examples.labels, NllOptions.PLAIN);
        int count = 0;
        for (int label : examples.labels) {
            count += label >= 0 ? 1 : 0;
        }
        return new Loss(Ops.sum(nll), count, Map.of(Loss.TOKENS, (double) rows, "rows", (double) rows));
    }

    /** Examples {@code from} to {@code to} of an endless fixed list; every fifth has no label. */
    static Examples examples(int from, int to) {
        float[] x = new float[(to - from) * INPUTS];
        int[] labels = new int[to - from];
        for (int i = from; i < to; i++) {
            Rng rng = new Rng(1000 + i);
            for (int k = 0; k < INPUTS; k++) {
                x[(i - from) * INPUTS + k] = (float) rng.nextGaussian();
            }
            labels[i - from] = i % 5 == 4 ? -1 : rng.nextInt(CLASSES);
        }
        return new Examples("examples " + from + ".." + (to - 1), x, labels);
    }

    /** Epochs of {@code count} examples in batches of {@code size}, in another order of batches each. */
    static IntFunction<Iterator<Examples>> epochs(int count, int size) {
        return epoch -> {
            List<Examples> batches = new ArrayList<>();
            for (int i = 0; i < count; i += size) {
                batches.add(examples(i, Math.min(count, i + size)));
            }
            Collections.shuffle(batches, new Random(epoch));
            return batches.iterator();
        };
    }

    Map<String, float[]> values() {
        Map<String, float[]> all = new LinkedHashMap<>();
        parameters.forEach((name, p) -> all.put(name, p.toArray()));
        return all;
    }

    @Override
    public void close() {
        arena.close();
    }
}
