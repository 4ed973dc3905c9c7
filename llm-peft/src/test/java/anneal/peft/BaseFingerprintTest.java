package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.ArenaFixture;
import anneal.io.Safetensors;
import anneal.io.SafetensorsWriter;
import anneal.nn.Linear;
import anneal.tensor.Rng;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.List;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class BaseFingerprintTest extends ArenaFixture {
    private Path weights;

    @BeforeEach
    void open() {
        Lora.rank(2)
                .init(Lora.Init.RANDOM)
                .on("q_proj")
                .attach(new TinyModel(arena, 2))
                .save(dir);
        weights = dir.resolve("adapter_model.safetensors");
    }

    /** The model with all its matrices changed. */
    private TinyModel changed(UnaryOperator<Float> change) {
        TinyModel model = new TinyModel(arena, 2);
        model.find(Linear.class).values().forEach(linear -> {
            linear.weight(linear.weight().dense(arena));
            Tensor w = linear.weight().parameter().orElseThrow();
            float[] x = w.toArray();
            for (int i = 0; i < x.length; i++) {
                x[i] = change.apply(x[i]);
            }
            w.set(x);
        });
        return model;
    }

    @Test
    void theSameBaseInAnotherStorageOrALittleTrainedIsAccepted() {
        Adapters same = Adapters.load(new TinyModel(arena, 2), dir);
        assertThat(same.paths()).hasSize(2);
        Rng rng = new Rng(1);
        TinyModel rounded = changed(x -> x * (float) (1 + 0.1 * rng.nextGaussian()));
        assertThat(Adapters.load(rounded, dir).paths()).hasSize(2);
    }

    @Test
    void anotherModelOfTheSameShapeIsRefused() {
        Rng rng = new Rng(1);
        TinyModel other = changed(_ -> (float) (0.2 * rng.nextGaussian()));
        float[] before = AdapterContract.logits(other);
        assertThatThrownBy(() -> Adapters.load(other, dir))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith(
                        weights + " was made for another base: 32 numbers of it differ from this model's by 1.")
                .hasMessageEndingWith("of their size (more than 0.5), though the shapes are the same");
        assertThat(AdapterContract.logits(other))
                .as("nothing is left plugged in")
                .containsExactly(before);
        assertThatThrownBy(() -> Adapters.load(changed(_ -> Float.NaN), dir)).hasMessageContaining("another base");
    }

    @Test
    void anotherShapeIsRefused() {
        Lora one = Lora.rank(2).on("q_proj").layers(0).build();
        one.attach(new TinyModel(arena, 2)).save(dir);
        assertThatThrownBy(() -> Adapters.load(new TinyModel(arena, 3), dir))
                .hasMessage(weights
                        + " was made for another base: the names or shapes of its linear layers are not those of"
                        + " this model");
    }

    @Test
    void aFileWithoutOneIsAccepted() {
        rewrite(new SafetensorsWriter());
        assertThat(Adapters.load(changed(_ -> 1f), dir).paths()).hasSize(2);
    }

    @Test
    void aSpoiltOneIsNamed() {
        rewrite(new SafetensorsWriter().metadata("anneal.base", "abc:1,x"));
        assertThatThrownBy(() -> Adapters.load(new TinyModel(arena, 2), dir))
                .hasMessage(weights + ": \"anneal.base\" of the metadata is no fingerprint: abc:1,x");
    }

    private void rewrite(SafetensorsWriter writer) {
        Safetensors file = Safetensors.open(weights, arena);
        Path other = dir.resolve("other.safetensors");
        writer.write(other, List.copyOf(file.tensors().values()));
        assertThat(other.toFile().renameTo(weights.toFile())).isTrue();
    }

    @Test
    void theTextHoldsEverything() {
        BaseFingerprint f = BaseFingerprint.of(new TinyModel(arena, 2));
        assertThat(BaseFingerprint.parse(f.text(), f.format(), "x")).isEqualTo(f);
        assertThat(f.sample()).hasSize(32).doesNotContain(0f);
        assertThat(BaseFingerprint.of(new TinyModel(arena, 1))).isNotEqualTo(f);
        try (Arena one = Arena.ofShared()) {
            assertThat(Safetensors.open(weights, one).metadata()).containsEntry("anneal.base", f.text());
        }
    }

    @Test
    void howTheBaseWasHeldIsRemembered() {
        Adapters first = Lora.rank(2).on("q_proj").attach(new TinyModel(arena, 2));
        assertThat(first.baseFormat()).contains("F32");
        BaseFingerprint here = BaseFingerprint.of(changed(x -> x * 1.1f));
        BaseFingerprint then = new BaseFingerprint(
                here.shapes(), BaseFingerprint.of(new TinyModel(arena, 2)).sample(), "NF4-DQ");
        assertThat(then.compare(here, "a"))
                .isEqualTo(
                        "a was made for a base whose numbers differ from this model's by 0.091 of their size: they were"
                                + " held in NF4-DQ, here in F32");
        assertThat(new BaseFingerprint(then.shapes(), then.sample(), null).compare(here, "a"))
                .endsWith("of their size: another storage format, or trained since");
        rewrite(new SafetensorsWriter().metadata("anneal.base", then.text()).metadata("anneal.base.format", "NF4-DQ"));
        Adapters loaded = Adapters.load(new TinyModel(arena, 2), dir);
        assertThat(loaded.baseFormat()).contains("NF4-DQ");
        loaded.save(dir.resolve("again"));
        assertThat(Adapters.load(new TinyModel(arena, 2), dir.resolve("again")).baseFormat())
                .as("saved again it is still the adapter of that base")
                .contains("NF4-DQ");
    }
}
