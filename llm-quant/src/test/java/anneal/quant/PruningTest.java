package anneal.quant;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.nn.DenseWeight;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.nn.Weight;
import anneal.quant.Pruning.Choice;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Shape;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import anneal.train.Adafactor;
import anneal.train.AdamW;
import anneal.train.AdamW8bit;
import anneal.train.Lion;
import anneal.train.Optimizer;
import anneal.train.ParameterGroup;
import anneal.train.Sgd;
import anneal.train.UpdateRule;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class PruningTest {
    private static final int IN = 64, HIDDEN = 80;

    private final Arena arena = Arena.ofShared();

    @AfterEach
    void close() {
        arena.close();
    }

    /** Two linear layers and one that is not inside a block. */
    private static final class Net extends Module {
        final Linear up, down, head;

        Net(Arena arena) {
            up = child("layers.0.up", linear(arena, HIDDEN, IN, 1, 1));
            down = child("layers.0.down", linear(arena, IN, HIDDEN, 2, 4));
            head = child("head", linear(arena, 4, IN, 3, 1));
        }

        private static Linear linear(Arena arena, int out, int in, long seed, double size) {
            Tensor w = Tensor.allocate(arena, Shape.of(out, in));
            w.set(random(out * in, seed, size));
            return new Linear(new DenseWeight(w), null);
        }

        Tensor forward(Tensor x) {
            return head.forward(down.forward(up.forward(x)));
        }
    }

    private static float[] random(int n, long seed, double size) {
        Rng rng = new Rng(seed);
        float[] a = new float[n];
        for (int i = 0; i < n; i++) {
            a[i] = (float) (size * rng.nextGaussian());
        }
        return a;
    }

    private static Tensor input() {
        return Tensor.of(random(5 * IN, 9, 1), 5, IN);
    }

    @Test
    void prunesWhatIsAskedForAndNothingElse() {
        Net net = new Net(arena);
        float[] head = net.head.weight().parameter().orElseThrow().toArray();
        List<String> told = new ArrayList<>();
        Map<String, Mask> masks = new Pruning(new Choice.PerLayer(0.25))
                .magnitude(net, arena, (path, done, total) -> told.add(path + " " + done + "/" + total));
        assertThat(told).containsExactly("layers.0.up 1/2", "layers.0.down 2/2");
        assertThat(masks).containsOnlyKeys("layers.0.up", "layers.0.down");
        masks.forEach((path, mask) -> assertThat(mask.sparsity()).as(path).isCloseTo(0.25, within(1e-3)));
        assertThat(net.head.weight().parameter().orElseThrow().toArray()).containsExactly(head);
    }

    @Test
    void globalTakesMoreFromTheLayerWithSmallerNumbers() {
        Map<String, Mask> masks = new Pruning(new Choice.Global(0.5)).magnitude(new Net(arena), arena);
        double up = masks.get("layers.0.up").sparsity(),
                down = masks.get("layers.0.down").sparsity();
        assertThat(up).isGreaterThan(0.7);
        assertThat(down).isLessThan(0.3);
        assertThat((up + down) / 2).isCloseTo(0.5, within(1e-3));
    }

    /** Input 3 is a hundred times larger than the others: no weight that reads it goes, however small it is. */
    @Test
    void wandaKeepsWhatReadsLargeInputs() {
        Net net = new Net(arena);
        float[] x = random(5 * IN, 9, 1);
        for (int row = 0; row < 5; row++) {
            x[row * IN + 3] = 100;
        }
        Map<String, float[]> norms;
        try (Memory.Scope scope = Memory.scope()) {
            float[] plain = net.forward(Tensor.of(x, 5, IN)).toArray();
            norms = InputNorms.capture(
                    net,
                    () -> assertThat(net.forward(Tensor.of(x, 5, IN)).toArray()).containsExactly(plain));
        }
        assertThat(norms.get("layers.0.up")[3]).isCloseTo((float) (100 * Math.sqrt(5)), within(1e-3f));
        Mask wanda =
                new Pruning(new Choice.PerRow(0.9)).wanda(net, norms, arena).get("layers.0.up");
        int kept = 0;
        for (int row = 0; row < HIDDEN; row++) {
            kept += wanda.kept(row, 3) ? 1 : 0;
        }
        assertThat(kept).isGreaterThan(HIDDEN * 9 / 10);
    }

    @Test
    void staysPrunedThroughTrainingByAnyRule() {
        for (UpdateRule rule : List.of(
                new AdamW(0.1),
                new AdamW8bit(0.1),
                new Lion(0.9, 0.99, 0.1),
                new Sgd(0.9),
                Adafactor.withRate(false))) {
            Net net = new Net(arena);
            net.unfreeze();
            Map<String, Mask> masks = new Pruning(new Choice.NofM(2, 4)).magnitude(net, arena);
            float[] before = net.up.weight().parameter().orElseThrow().toArray();
            try (Optimizer o = new Optimizer(net.parameters(), rule, List.of(ParameterGroup.DECAY_ALL))) {
                for (int i = 0; i < 5; i++) {
                    o.zeroGrad();
                    try (Memory.Scope scope = Memory.scope()) {
                        Tensor y = net.forward(input());
                        Tape.backward(Ops.sum(Ops.mul(y, y)));
                        o.step(1e-6, 1e-3);
                    }
                }
            }
            float[] after = net.up.weight().parameter().orElseThrow().toArray();
            Mask mask = masks.get("layers.0.up");
            int moved = 0;
            for (int i = 0; i < after.length; i++) {
                if (mask.kept(i / IN, i % IN)) {
                    moved += after[i] != before[i] ? 1 : 0;
                } else {
                    assertThat(after[i]).as("%s: pruned number %d", rule, i).isZero();
                }
            }
            assertThat(moved).as("%s: numbers that learnt", rule).isGreaterThan(after.length / 4);
        }
    }

    @Test
    void zerosThatAreThereAreKept() {
        Net net = new Net(arena);
        Map<String, Mask> pruned = new Pruning(new Choice.NofM(2, 4), "up").magnitude(net, arena);
        Net read = new Net(arena); // plain matrices of these numbers, as from a file
        read.up.weight(DenseWeight.copy(net.up.weight().matrix(), arena));
        Map<String, Mask> found = Pruning.keepZeros(read, arena);
        assertThat(found).containsOnlyKeys("layers.0.up");
        assertThat(found.get("layers.0.up").ones())
                .isEqualTo(pruned.get("layers.0.up").ones());
        assertThat(found.get("layers.0.up").dropped()).isEqualTo(HIDDEN * IN / 2);
        MaskedWeight copy = (MaskedWeight) read.up.weight().trainableCopy(arena);
        assertThat(copy.mask()).isSameAs(found.get("layers.0.up"));
        assertThat(copy.parameter()).isNotEqualTo(read.up.weight().parameter());

        Net dense = new Net(arena);
        assertThatThrownBy(() -> Pruning.keepZeros(dense, arena))
                .hasMessage(
                        "keep zeros: none of 2 matrices has 1 % of its numbers at 0 (the most is 0.00 %), so they were not pruned");
        Weight before = read.up.weight();
        assertThatThrownBy(() -> Pruning.keepZeros(read, path -> path.endsWith("down"), arena))
                .hasMessageStartingWith("keep zeros: none of 1 matrices has 1 %");
        assertThat(read.up.weight()).isSameAs(before);
        Quantizer.format(new Int8()).apply(dense);
        assertThatThrownBy(() -> Pruning.keepZeros(dense, arena))
                .hasMessageContaining("keep zeros: layers.0.up is stored as INT8, where zeros come from rounding too");
    }

    @Test
    void saysWhatIsWrong() {
        Net net = new Net(arena);
        assertThatThrownBy(() -> new Choice.PerLayer(1)).hasMessage("prune: sparsity 1.0 must be in (0, 1)");
        assertThatThrownBy(() -> new Choice.NofM(4, 4)).hasMessage("prune: 4 of 4 must leave some and drop some");
        assertThatThrownBy(() -> new Pruning(new Choice.NofM(2, 3)).magnitude(net, arena))
                .hasMessage("prune: rows of 64 numbers are no whole groups of 3");
        assertThatThrownBy(() -> new Pruning(new Choice.PerLayer(0.5), "q_proj").magnitude(net, arena))
                .hasMessage("prune: no linear layer matches q_proj of [layers.0.up, layers.0.down, head]");
        assertThatThrownBy(() -> new Pruning(new Choice.PerRow(0.5)).wanda(net, Map.of(), arena))
                .hasMessage("prune: the calibration data did not reach layers.0.up");
        assertThatThrownBy(() -> InputNorms.capture(net, () -> {})).hasMessage("calibration: no linear layer was run");
        net.up
                .weight()
                .parameter()
                .orElseThrow()
                .buf()
                .set(java.lang.foreign.ValueLayout.JAVA_FLOAT, 4 * 70, Float.NaN);
        assertThatThrownBy(() -> new Pruning(new Choice.PerLayer(0.5)).magnitude(net, arena))
                .hasMessage("prune: layers.0.up has NaN at [1, 6]");
    }
}
