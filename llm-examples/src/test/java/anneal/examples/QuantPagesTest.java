package anneal.examples;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.Pretrained;
import anneal.model.DecoderConfig;
import anneal.model.Family;
import anneal.model.Tokens;
import anneal.quant.calibrate.Windows;
import anneal.quant.post.Awq;
import anneal.quant.post.Gptq;
import anneal.quant.post.Grid;
import anneal.quant.post.LayerDistillation;
import anneal.quant.post.PostReport;
import anneal.quant.post.SmoothQuant;
import anneal.quant.post.ZeroQuant;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Tape;
import anneal.text.BpeTrainer;
import anneal.text.Tokenizer;
import java.util.Arrays;
import java.util.List;
import java.util.function.BiConsumer;
import java.util.function.BiFunction;
import org.junit.jupiter.api.Test;

/** The snippets of the pages on post-training quantisation, on a tiny model with random weights. */
class QuantPagesTest {
    private static final String TEXT = "the lowest of the low, the newest of the new; ".repeat(40);

    private static void onTinyModel(
            BiFunction<Pretrained, Runnable, PostReport> method, BiConsumer<PostReport, Double> check) {
        Tokenizer tokenizer = new BpeTrainer(280).train(List.of(TEXT));
        DecoderConfig config = DecoderConfig.builder(Family.LLAMA)
                .vocabSize(tokenizer.vocabSize())
                .hiddenSize(64)
                .feedForwardSize(128)
                .layers(2)
                .heads(4)
                .contextLength(64)
                .build();
        try (Pretrained lm = Pretrained.create(config, tokenizer, 0)) {
            Runnable forward = forward(lm, TEXT);
            float[] before = logits(lm);
            PostReport report = method.apply(lm, forward);
            float[] after = logits(lm);
            double off = 0, size = 0;
            for (int i = 0; i < before.length; i++) {
                off += Math.pow(after[i] - before[i], 2);
                size += Math.pow(before[i], 2);
            }
            check.accept(report, Math.sqrt(off / size));
        }
    }

    private static Runnable forward(Pretrained lm, String text) {
        int[][] windows = Windows.of(lm.tokenizer().encode(text), 8, 32);
        Runnable forward = () -> {
            for (int[] window : windows) {
                try (Memory.Scope step = Memory.scope()) {
                    lm.model().hidden(Tokens.of(window), null);
                }
            }
        };
        return forward;
    }

    private static float[] logits(Pretrained lm) {
        try (Memory.Scope scope = Memory.scope();
                Tape.Pause pause = Tape.pause()) {
            int[] ids = Arrays.copyOf(lm.tokenizer().encode(TEXT), 32);
            return Ops.softmax(lm.model().logits(Tokens.of(ids))).toArray();
        }
    }

    @Test
    void smoothQuant() {
        onTinyModel(
                (lm, forward) -> {
                    PostReport report =
                            SmoothQuant.o1().search().build().apply(lm.model().root(), forward);
                    return report;
                },
                (report, off) -> {
                    assertThat(report.layers())
                            .hasSize(14)
                            .allMatch(l -> l.format().equals("W8A8"));
                    assertThat(off).isLessThan(0.02);
                });
    }

    @Test
    void zeroQuant() {
        onTinyModel(
                (lm, forward) -> {
                    LayerDistillation lkd = new LayerDistillation(4, 1e-4);
                    PostReport report =
                            ZeroQuant.mixed(32, lkd).apply(lm.model().root(), forward);
                    return report;
                },
                (report, off) -> {
                    assertThat(report.toString()).contains("W8A8 g32", "W4A8 g32", "lkd");
                    assertThat(off).isLessThan(0.2);
                });
    }

    @Test
    void gptqAndAwq() {
        Grid grid = Grid.bits(4).groups(32);
        onTinyModel(
                (lm, forward) -> new Gptq(grid).actOrdered().apply(lm.model().root(), forward),
                (report, off) -> assertThat(off).isLessThan(0.2));
        onTinyModel(
                (lm, forward) -> new Awq(grid).apply(lm.model().root(), forward),
                (report, off) -> assertThat(off).isLessThan(0.2));
    }
}
