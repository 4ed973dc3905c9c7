package anneal.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import anneal.nn.DenseWeight;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.peft.Adapters;
import anneal.peft.Lora;
import anneal.peft.LoraInit;
import anneal.peft.LoraPlus;
import anneal.tensor.Linalg;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import anneal.train.AdamW;
import anneal.train.Optimizer;
import anneal.train.ParameterGroup;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The snippets of the pages on low rank and on LoRA's variants. */
class LowRankPagesTest {
    private static Tensor random(int rows, int columns, Rng rng) {
        float[] x = new float[rows * columns];
        for (int i = 0; i < x.length; i++) {
            x[i] = (float) rng.nextGaussian();
        }
        return Tensor.of(x, rows, columns);
    }

    private static double squares(Tensor x) {
        double sum = 0;
        for (float v : x.toArray()) {
            sum += (double) v * v;
        }
        return sum;
    }

    @Test
    void eigenvaluesAndSingularValues() {
        try (Memory.Scope scope = Memory.scope()) {
            Tensor a = Tensor.of(new float[] {3, 0, 4, 5}, 2, 2);
            Linalg.Eigen eigen = Linalg.eigSymmetric(Ops.matmul(Linalg.transposed(a), a));
            Linalg.Svd svd = Linalg.svd(a);

            assertThat(eigen.values().toArray()).containsExactly(new float[] {5, 45}, within(1e-5f));
            for (int i = 0; i < 2; i++) {
                assertThat(svd.s().get(i) * svd.s().get(i))
                        .isCloseTo(eigen.values().get(1 - i), within(1e-4f));
            }
        }
    }

    @Test
    void theBestMatrixOfARank() {
        try (Memory.Scope scope = Memory.scope()) {
            Tensor w = random(60, 40, new Rng(1));
            Linalg.Svd svd = Linalg.svd(w);
            double left = squares(Ops.sub(w, svd.truncated(8).product()));
            double tail = 0;
            for (int i = 8; i < svd.rank(); i++) {
                tail += svd.s().get(i) * svd.s().get(i);
            }

            assertThat(left).isCloseTo(tail, within(1e-3 * tail));
        }
    }

    @Test
    void anUpdateHasNoMoreRankThanTokens() {
        try (Memory.Scope scope = Memory.scope()) {
            int tokens = 5;
            Tensor x = random(tokens, 40, new Rng(2)), dy = random(tokens, 60, new Rng(3));
            Tensor gradient = Ops.matmul(Linalg.transposed(dy), x); // [out, in], as a step of plain descent moves W
            float[] s = Linalg.svd(gradient).s().toArray();

            assertThat(s[tokens - 1]).isGreaterThan(1f);
            assertThat(s[tokens]).isLessThan(1e-4f);
        }
    }

    @Test
    void aRandomisedSearchFindsTheFirstDirections() {
        try (Memory.Scope scope = Memory.scope()) {
            Tensor w = Ops.matmul(random(200, 6, new Rng(4)), random(6, 150, new Rng(5)));
            Linalg.Svd near = Linalg.randomizedSvd(w, 6, 2, new Rng(6));

            assertThat(squares(Ops.sub(w, near.product()))).isLessThan(1e-6 * squares(w));
        }
    }

    /** One layer under a model's name. */
    private static final class Model extends Module {
        Model(Arena arena) {
            Tensor w = Tensor.allocate(arena, Shape.of(16, 24));
            w.set(random(16, 24, new Rng(7)));
            child("model.layers.0.self_attn.q_proj", new Linear(new DenseWeight(w), null));
        }
    }

    @Test
    void variantsOfLora(@TempDir Path folder) {
        try (Arena arena = Arena.ofShared()) {
            Module root = new Model(arena);
            Adapters dora = Lora.rank(4).alpha(8).dora().on("q_proj").attach(root);
            assertThat(dora.parameters()).hasSize(3);
            dora.detach();

            Adapters pissa = Lora.rank(4)
                    .alpha(4)
                    .init(new LoraInit.Pissa())
                    .on("q_proj")
                    .attach(root);
            pissa.saveAsPlainLora(folder);
            assertThat(folder.resolve("adapter_model.safetensors"))
                    .satisfies(f -> assertThat(Files.size(f)).isPositive());
            pissa.detach();

            Adapters adapters = Lora.rank(4).alpha(8).on("q_proj").attach(root);
            List<ParameterGroup> groups = new LoraPlus(16, 1)
                    .groups(adapters).stream()
                            .map(g -> new ParameterGroup(g.pattern(), g.rateFactor(), g.decay()))
                            .toList();
            try (Optimizer optimizer = new Optimizer(adapters.parameters(), new AdamW(), groups)) {
                assertThat(optimizer.state()).hasSize(4);
            }
            adapters.freeze("lora_A");
            assertThat(adapters.parameters()).hasSize(1);
        }
    }
}
