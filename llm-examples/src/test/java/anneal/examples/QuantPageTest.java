package anneal.examples;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.Pretrained;
import anneal.TinyModel;
import anneal.peft.Adapters;
import anneal.peft.Lora;
import anneal.quant.Nf4;
import anneal.quant.QuantFormat;
import anneal.quant.QuantReport;
import anneal.quant.Quantizer;
import anneal.tensor.DType;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The snippets of docs/quantisation.md. */
class QuantPageTest {
    @TempDir
    private Path dir;

    @Test
    void aQuantisedBaseTakesAnAdapter() {
        try (Pretrained lm = TinyModel.create(7)) {
            QuantReport report =
                    Quantizer.format(new Nf4(64, true)).except("lm_head").apply(lm.model());
            Adapters adapters =
                    Lora.rank(16).alpha(32).on("all-linear").attach(lm.model().root());
            assertThat(report.worst()).isBetween(0.05, 0.12);
            assertThat(adapters.paths()).hasSize(report.layers().size());
        }
    }

    @Test
    void aQuantisedModelIsSaved() {
        try (Pretrained lm = TinyModel.create(7)) {
            Path out = dir.resolve("tiny.gguf");
            Quantizer.format(QuantFormat.of("q4_0")).except("lm_head").apply(lm.model());
            lm.saveGguf(out, DType.Q8_0);
            try (Pretrained back = Pretrained.load(out)) {
                assertThat(back.model().head().weight().format()).isEqualTo("Q8_0");
            }
        }
    }
}
