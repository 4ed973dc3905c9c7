package anneal.quant.post;

import anneal.nn.Module;
import anneal.nn.SubLayer;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Shape;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import anneal.tensor.UpdateOps;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;

/**
 * Layer-by-layer knowledge distillation: the weights of a block that is about to be quantised are trained for a moment, through
 * the rounding, to give the outputs that the block gave before.
 *
 * <pre>
 * loss = mean (L'_k(h) - L_k(h))^2          h = L_(k-1) ... L_1(x), from the original blocks for both
 * </pre>
 *
 * <p>No labels, no second model in memory. Yao et al., arXiv:2206.01861, equation 4. A block that was trained gets its own weights back
 * until all are, so what stands before a block is the original. Teacher outputs come through the sub-layer output socket; one block's
 * inputs and outputs are held at a time, so a pass computes that block only. Adam without weight decay; one step a window.
 *
 * @param passes over the calibration text for each block
 * @param rate learning rate
 */
public record LayerDistillation(int passes, double rate) {
    public LayerDistillation {
        if (passes < 1) {
            throw new IllegalArgumentException("LayerDistillation: passes " + passes + " must be at least 1");
        }
        if (!(rate > 0 && rate < Double.POSITIVE_INFINITY)) {
            throw new IllegalArgumentException("LayerDistillation: rate " + rate + " must be positive");
        }
    }

    /** Mean losses of the first and the last pass. */
    record Outcome(double first, double last) {}

    /** Modules that hold sub-layers as children: the blocks, in the model's order. */
    static List<Module> blocks(Module root) {
        List<Module> blocks = new ArrayList<>();
        root.walk((path, m) -> {
            if (m.children().values().stream().anyMatch(SubLayer.class::isInstance)) {
                blocks.add(m);
            }
        });
        return blocks;
    }

    private static SubLayer last(Module block) {
        return subLayers(block).getLast();
    }

    static List<SubLayer> subLayers(Module block) {
        return block.children().values().stream()
                .filter(SubLayer.class::isInstance)
                .map(SubLayer.class::cast)
                .toList();
    }

    /** The outputs of a block for each window of the text, in memory of {@code arena}. */
    static List<Tensor> outputs(Module block, Runnable forward, Arena arena) {
        List<Tensor> outputs = new ArrayList<>();
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            watched(last(block), forward, y -> {
                Tensor copy = Tensor.allocate(arena, y.shape());
                copy.set(y);
                outputs.add(copy);
                return y;
            });
        }
        return outputs;
    }

    /** Trains {@code weights}, which the block computes with and nothing else is trained beside, towards the teacher's outputs. */
    Outcome train(Module block, List<Tensor> weights, List<Tensor> teacher, Runnable forward) {
        try (Arena arena = Arena.ofShared()) {
            Adam adam = new Adam(weights, arena);
            double first = 0, last = 0;
            for (int pass = 0; pass < passes; pass++) {
                last = pass(block, adam, teacher, forward);
                first = pass == 0 ? last : first;
            }
            return new Outcome(first, last);
        }
    }

    private double pass(Module block, Adam adam, List<Tensor> teacher, Runnable forward) {
        double[] losses = new double[teacher.size()];
        int[] window = {0};
        try (var _ = Memory.scope()) {
            watched(last(block), forward, y -> {
                if (!Tape.recording()) {
                    throw new IllegalArgumentException(
                            "distillation: the forward pass pauses the tape; a gradient is needed here");
                }
                Tensor off = Ops.sub(y, teacher.get(window[0]));
                Tensor loss = Ops.scale(Ops.sum(Ops.mul(off, off)), 1f / y.size());
                losses[window[0]++] = loss.item();
                Tape.backward(loss);
                adam.step(rate);
                return y.detach();
            });
        } finally {
            Tape.clear();
        }
        return java.util.Arrays.stream(losses).average().orElse(0);
    }

    /** Runs the model while {@code hook} sees, and may replace, what comes out of a sub-layer; a plugged hook acts first. */
    private static void watched(SubLayer s, Runnable forward, java.util.function.UnaryOperator<Tensor> hook) {
        SubLayer.Hook before = s.after();
        s.after((output, input) -> hook.apply(before.apply(output, input)));
        try {
            forward.run();
        } finally {
            s.after(before);
        }
    }

    /** Adam's state of some tensors. */
    private static final class Adam {
        private final List<Tensor> weights;
        private final List<Tensor> means = new ArrayList<>();
        private final List<Tensor> squares = new ArrayList<>();
        private long steps;

        Adam(List<Tensor> weights, Arena arena) {
            this.weights = weights;
            for (Tensor w : weights) {
                Shape shape = w.shape();
                means.add(Tensor.allocate(arena, shape));
                squares.add(Tensor.allocate(arena, shape));
            }
        }

        void step(double rate) {
            steps++;
            for (int i = 0; i < weights.size(); i++) {
                Tensor w = weights.get(i);
                UpdateOps.Adam numbers = new UpdateOps.Adam(1, 0, 0, 0.9, 0.999, 1e-8, rate, steps);
                UpdateOps.adam(w, means.get(i), squares.get(i), numbers);
                w.zeroGrad();
            }
        }
    }
}
