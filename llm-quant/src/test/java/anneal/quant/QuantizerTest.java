package anneal.quant;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.kernels.BlockFormat;
import anneal.model.Decoder;
import anneal.model.DecoderConfig;
import anneal.model.Family;
import anneal.model.Init;
import anneal.nn.Linear;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Map;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Whole models: which layers change, what the report says, what is refused. */
class QuantizerTest {
    private final Arena arena = Arena.ofShared();

    @AfterEach
    void close() {
        arena.close();
    }

    /** Rows of 256 numbers, so that every format fits. */
    static DecoderConfig config(Family family, int vocabulary, boolean tied) {
        return DecoderConfig.builder(family)
                .vocabSize(vocabulary)
                .hiddenSize(256)
                .feedForwardSize(512)
                .layers(2)
                .heads(4, 2, 64)
                .contextLength(64)
                .tied(tied)
                .build();
    }

    /** A random start. */
    static Decoder model(Arena arena, Family family, boolean tied) {
        DecoderConfig config = config(family, 101, tied);
        return new Decoder(config, Init.usual(config).weights(config, 3, arena));
    }

    private Decoder model() {
        return model(arena, Family.LLAMA, false);
    }

    @Test
    void everyLayerButTheExceptedOnesChanges() {
        Decoder model = model();
        QuantReport report = Quantizer.format(new Nf4(64, true))
                .except("lm_head", "model.layers.0.mlp.down_proj")
                .apply(model);
        assertThat(report.kept()).containsExactly("model.layers.0.mlp.down_proj", "lm_head");
        assertThat(report.layers()).hasSize(13);
        model.find(Linear.class)
                .forEach((path, layer) -> assertThat(layer.weight().format())
                        .as(path)
                        .isEqualTo(report.kept().contains(path) ? "F32" : "NF4-DQ"));
        assertThat(model.parameters().keySet())
                .contains("lm_head.weight", "model.norm.weight")
                .doesNotContain("model.layers.1.mlp.up_proj.weight");
        assertThat(report.bytesBefore()).isGreaterThan(7 * report.bytesAfter());
        assertThat(report.worst()).isBetween(0.08, 0.1);
        for (QuantReport.Layer l : report.layers()) {
            assertThat(l.relativeError()).as(l.path()).isBetween(0.08, 0.1);
            assertThat(report.toString().lines()).anyMatch(line -> line.startsWith(l.path() + " "));
        }
        assertThat(report.toString())
                .startsWith("layer")
                .contains("left as they are: model.layers.0.mlp.down_proj, lm_head");
    }

    @Test
    void aTiedHeadStaysTheEmbedding() {
        Decoder model = model(arena, Family.LLAMA, true);
        QuantReport report = Quantizer.format(GgufBlocks.Q8_0).apply(model);
        assertThat(report.kept()).containsExactly("lm_head");
        assertThat(model.head().weight()).isSameAs(model.embedding().weight());
    }

    @Test
    void whatCannotBeDoneChangesNothing() {
        Decoder model = model();
        Map<String, Linear> layers = model.find(Linear.class);
        assertThatThrownBy(() -> Quantizer.format(new Nf4(64)).except("lm_haed").apply(model))
                .hasMessage("quantize: no linear layer is called \"lm_haed\"; the nearest is \"lm_head\"");
        assertThatThrownBy(() -> Quantizer.format(new GroupInt(4, 96, true)).apply(model))
                .hasMessageStartingWith("quantize: 15 layers cannot be: model.layers.0.self_attn.q_proj: rows of"
                        + " 256 numbers are no whole groups of 96, which INT4-G96 wants (and ");
        Tensor w = layers.get("model.layers.1.mlp.up_proj").weight().parameter().orElseThrow();
        w.buf().setAtIndex(ValueLayout.JAVA_FLOAT, 256 + 2, Float.POSITIVE_INFINITY);
        Quantizer nf4 = Quantizer.format(new Nf4(64));
        for (ThrowingCallable way : List.<ThrowingCallable>of(() -> nf4.apply(model), () -> nf4.check(model))) {
            assertThatThrownBy(way)
                    .hasMessage("quantize: 1 layer cannot be: model.layers.1.mlp.up_proj: the weight is Infinity at"
                            + " [1, 2]; it must be finite");
        }
        assertThat(layers.values()).allMatch(l -> l.weight().format().equals("F32"));
    }

    @Test
    void nothingIsQuantisedTwiceOrUnderAnAdapter() {
        Decoder model = model();
        Quantizer.format(GgufBlocks.Q4_1).except("lm_head").apply(model);
        assertThatThrownBy(() -> Quantizer.format(new Nf4(64)).except("lm_head").apply(model))
                .hasMessage("quantize: 14 layers cannot be: model.layers.0.self_attn.q_proj is quantised"
                        + " already, as Q4_1 (and 13 more)");
        Decoder other = model();
        other.head().adapter((x, base) -> base.plain(x));
        assertThatThrownBy(() -> Quantizer.format(new Nf4(64)).apply(other))
                .hasMessage("quantize: 1 layer cannot be: lm_head has an adapter; quantise first, then attach");
    }

    @Test
    void settingsAreChecked() {
        assertThatThrownBy(() -> new Nf4(48))
                .hasMessage("Nf4: the block size must be a power of two from 32 to 4096, not 48");
        assertThatThrownBy(() -> new Fp4(8192))
                .hasMessage("Fp4: the block size must be a power of two from 32 to 4096, not 8192");
        assertThatThrownBy(() -> new Int8(-1)).hasMessage("Int8: the threshold must not be negative: -1.0");
        assertThatThrownBy(() -> new GroupInt(9, 32, true)).hasMessage("GroupInt: codes have 2 to 8 bits, not 9");
        assertThatThrownBy(() -> new GroupInt(4, -1, true))
                .hasMessage("GroupInt: a group has at least one number, not -1");
        assertThatThrownBy(() -> new GgufBlocks(BlockFormat.Q2_K))
                .hasMessage("GgufBlocks: Q2_K is read, but nothing is quantised into it");
        assertThatThrownBy(() -> QuantFormat.of("int4-g0")).hasMessageStartingWith("\"int4-g0\" is no format");
        assertThatThrownBy(() -> QuantFormat.of("nf5"))
                .hasMessageStartingWith("\"nf5\" is no format; there are nf4, fp4");
        assertThatThrownBy(() -> GgufBlocks.Q4_K.requireFits(96))
                .hasMessage("rows of 96 numbers are no whole blocks of 256, which Q4_K wants");
        assertThatThrownBy(() -> new GroupInt(4, GroupInt.ROW, true).requireFits(33))
                .hasMessage("rows of 33 codes of 4 bits are no whole bytes");
        assertThat(QuantFormat.of("NF4-b128-dq")).isEqualTo(new Nf4(128, true));
        assertThat(List.of(QuantFormat.of("int4-row-asym"), QuantFormat.of("Q6_K")))
                .isEqualTo(List.of(new GroupInt(4, GroupInt.ROW, false), GgufBlocks.Q6_K));
    }
}
