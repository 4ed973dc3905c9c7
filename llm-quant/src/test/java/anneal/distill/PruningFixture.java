package anneal.distill;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import anneal.ArenaFixture;
import anneal.model.Decoder;
import anneal.model.DecoderConfig;
import anneal.model.Init;
import anneal.model.ModelFiles;
import anneal.model.Tokens;
import anneal.tensor.DType;
import anneal.tensor.Memory;
import anneal.tensor.Tape;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Small models to take parts out of, what they say, and their files. */
abstract class PruningFixture extends ArenaFixture {
    static final int HIDDEN = 24;

    /**
     * A model of two layers.
     *
     * @param biases regular expression of the names of those that are not zero
     * @param step what a bias grows by from one channel to the next
     */
    Decoder model(DecoderConfig.Builder shape, String biases, float step) {
        DecoderConfig config = shape.vocabSize(40)
                .hiddenSize(HIDDEN)
                .layers(2)
                .contextLength(32)
                .initRange(0.3)
                .build();
        Decoder model = new Decoder(config, Init.usual(config).weights(config, 3, arena));
        model.parameters().forEach((name, p) -> {
            if (name.matches(biases)) {
                float[] b = p.toArray();
                for (int i = 0; i < b.length; i++) {
                    b[i] = step * (i + 1);
                }
                p.set(b);
            }
        });
        return model;
    }

    static float[] logits(Decoder model) {
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            return model.logits(Tokens.of(1, 5, 3, 17, 30)).toArray();
        }
    }

    /** The logits of a model, which must be those of another. */
    static float[] requireSame(Decoder smaller, Decoder model) {
        float[] have = logits(smaller), want = logits(model);
        for (int i = 0; i < want.length; i++) {
            assertThat(have[i]).as("%s [%d]", model.config().family(), i).isCloseTo(want[i], within(1e-5f));
        }
        return have;
    }

    /** The folder of the smaller model, which must be smaller than that of the other. */
    Path saved(Decoder smaller, Decoder model) {
        try {
            Path large = Files.createTempDirectory(dir, "large"), small = Files.createTempDirectory(dir, "small");
            ModelFiles.save(model, large, DType.F32);
            ModelFiles.save(smaller, small, DType.F32);
            assertThat(Files.size(small.resolve("model.safetensors")))
                    .isLessThan(Files.size(large.resolve("model.safetensors")));
            return small;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
