package anneal.examples;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.Pretrained;
import anneal.TinyModel;
import anneal.peft.Adapters;
import anneal.peft.Bottleneck;
import anneal.peft.PrefixTuning;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The snippets of the pages on prompts and on bottleneck adapters. */
class PromptPagesTest {
    @TempDir
    private Path dir;

    @Test
    void aPrefixTakesPlacesInTheContext() throws Exception {
        Path folder = dir.resolve("prefix");
        try (Pretrained lm = Pretrained.load(TinyModel.write(dir.resolve("model")))) {
            int room;
            Adapters adapters = PrefixTuning.tokens(10).attach(lm.model().root());
            int before = lm.model().contextLength();
            try (var base = adapters.disabled()) {
                room = lm.model().contextLength() - before;
            }
            adapters.save(folder);
            assertThat(room).isEqualTo(10);
            assertThat(folder.resolve("adapter_model.safetensors")).isNotEmptyFile();
        }
    }

    @Test
    void aBottleneckIsSavedAndLoaded() throws Exception {
        Path folder = dir.resolve("bottleneck");
        try (Pretrained lm = Pretrained.load(TinyModel.write(dir.resolve("model")))) {
            Adapters adapters = Bottleneck.pfeiffer()
                    .reduction(8)
                    .name("reviews")
                    .attach(lm.model().root());
            adapters.save(folder);
            adapters.detach();
            Adapters again = Adapters.load(lm.model().root(), folder);
            assertThat(again.method()).isEqualTo(adapters.method());
            assertThat(again.parameters().keySet())
                    .isEqualTo(adapters.parameters().keySet());
        }
    }
}
