package anneal.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.Pretrained;
import anneal.TinyModel;
import anneal.model.Decoder;
import anneal.model.DecoderConfig;
import anneal.model.Family;
import anneal.model.Tokens;
import anneal.nn.Linear;
import anneal.peft.Adapters;
import anneal.peft.Lora;
import anneal.peft.MergeReport;
import anneal.quant.QuantFormat;
import anneal.quant.Quantizer;
import anneal.quant.post.Grid;
import anneal.quant.post.Rtn;
import anneal.tensor.DType;
import anneal.tensor.Memory;
import anneal.tensor.Rng;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Adapters merged into quantised weights, which stay in their format: adapters know no format, formats no adapter. */
class QuantizedMergeTest {
    private static final Tokens PROBE = Tokens.of(new int[] {3, 9, 4, 7, 1, 8}, 1, 6);

    @TempDir
    private Path dir;

    private Pretrained lm;

    @AfterEach
    void close() {
        Tape.clear();
        lm.close();
    }

    /** Rows as long as the longest block. */
    private Decoder model() {
        DecoderConfig config = DecoderConfig.builder(Family.LLAMA)
                .vocabSize(TinyModel.VOCABULARY)
                .hiddenSize(256)
                .feedForwardSize(256)
                .layers(1)
                .heads(4, 4, 64)
                .contextLength(16)
                .initRange(0.02)
                .build();
        lm = Pretrained.create(config, TinyModel.tokenizer(), 3);
        return lm.model();
    }

    private static Supplier<Tensor> probe(Decoder model) {
        return () -> model.logits(PROBE);
    }

    private static float[] logits(Decoder model) {
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            return probe(model).get().toArray();
        }
    }

    private static Adapters adapters(Decoder model, double alpha) {
        Adapters adapters = Lora.rank(4)
                .alpha(alpha)
                .init(Lora.Init.GAUSSIAN)
                .on("all-linear")
                .attach(model);
        Rng rng = new Rng(5);
        adapters.parameters().forEach((name, p) -> {
            float[] values = p.toArray();
            for (int i = 0; i < values.length; i++) {
                values[i] += name.contains("lora_B") ? (float) (0.03 * rng.nextGaussian()) : 0;
            }
            p.set(values);
        });
        return adapters;
    }

    private static Map<String, String> formats(Decoder model) {
        Map<String, String> all = new TreeMap<>();
        model.find(Linear.class).forEach((path, l) -> all.put(path, l.weight().format()));
        return all;
    }

    private static Stream<String> everyFormat() {
        return QuantFormat.NAMES.stream();
    }

    @ParameterizedTest
    @MethodSource("everyFormat")
    void everyFormatComesBackAsItWas(String name) {
        Decoder model = model();
        Quantizer.format(QuantFormat.of(name)).except("lm_head").apply(model);
        check(model, QuantFormat.of(name).name());
    }

    @Test
    void soDoUniformGrids() {
        Decoder model = model();
        new Rtn(Grid.bits(4).groups(32)).apply(model, path -> !path.equals("lm_head"), () -> logits(model));
        check(model, "INT4 g32");
    }

    @ParameterizedTest
    @MethodSource("blocks")
    void soDoBlocksThatWereReadFromAFile(String name) {
        Decoder model = model();
        Quantizer.format(QuantFormat.of(name)).except("lm_head").apply(model);
        Path file = dir.resolve("m.gguf");
        lm.saveGguf(file, DType.F32);
        lm.close();
        lm = Pretrained.load(file);
        check(lm.model(), name.toUpperCase(Locale.ROOT));
    }

    private static Stream<String> blocks() {
        return Stream.of("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q4_k", "q5_k", "q6_k");
    }

    private void check(Decoder model, String format) {
        Map<String, String> before = formats(model);
        assertThat(before.values()).contains(format);
        float[] base = logits(model);
        Adapters adapters = adapters(model, 4);
        float[] applied = logits(model);
        Tokens tokens = PROBE;
        MergeReport report = adapters.merge(() -> lm.model().logits(tokens), 0.5);
        System.out.printf("%-14s differs by %.4f of an effect of %.4f%n", format, report.difference(), report.effect());
        assertThat(formats(model)).isEqualTo(before);
        assertThat(report.layers()).noneMatch(MergeReport.Layer::widened);
        double largest = 0;
        float[] merged = logits(model);
        for (int i = 0; i < merged.length; i++) {
            largest = Math.max(largest, Math.abs((double) merged[i] - applied[i]));
        }
        assertThat(report.difference()).isEqualTo(largest).isLessThan(report.effect());
        adapters.unmerge();
        assertThat(logits(model)).containsExactly(applied);
        adapters.detach();
        assertThat(logits(model)).containsExactly(base);
    }

    @Test
    void anUpdateBelowTheStepsOfTheFormatIsNamedAndABoundRefusesIt() {
        Decoder model = model();
        Quantizer.format(QuantFormat.of("q4_0")).except("lm_head").apply(model);
        Adapters adapters = adapters(model, 0.01);
        float[] applied = logits(model);
        assertThatThrownBy(() -> adapters.merge(probe(model), 1e-7))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("nothing was merged");
        assertThat(adapters.merged()).isFalse();
        assertThat(logits(model)).containsExactly(applied);
        MergeReport report = adapters.merge(probe(model), 1);
        assertThat(report.erased()).hasSameSizeAs(report.layers());
    }
}
