package anneal.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.io.Gguf;
import anneal.io.Json;
import anneal.io.Safetensors;
import anneal.io.SafetensorsWriter;
import anneal.io.StoredTensor;
import anneal.nn.Linear;
import anneal.tensor.DType;
import anneal.tensor.Memory;
import anneal.tensor.Tape;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** Models written and read again, and folders that do not fit. */
class ModelFilesTest {
    @TempDir
    private Path dir;

    private static float[] logits(Decoder model, GoldenModel g) {
        try (Memory.Scope scope = Memory.scope();
                Tape.Pause p = Tape.pause()) {
            return model.logits(g.tokens()).toArray();
        }
    }

    @TestFactory
    Stream<DynamicTest> aSavedFolderGivesTheSameBits() {
        return GoldenModel.folders().stream()
                .map(folder -> DynamicTest.dynamicTest(folder.getFileName() + "", () -> {
                    try (Arena arena = Arena.ofShared()) {
                        GoldenModel g = GoldenModel.read(folder, arena);
                        Decoder model = ModelFiles.load(folder, arena);
                        Path out = Files.createDirectory(dir.resolve(g.name()));
                        ModelFiles.save(model, out, DType.F32);
                        Decoder back = ModelFiles.load(out, arena);
                        GoldenModel.close("logits", logits(back, g), logits(model, g), 0);
                        assertThat(Safetensors.open(out, arena).tensors().keySet())
                                .isEqualTo(Safetensors.open(folder, arena)
                                        .tensors()
                                        .keySet());
                    }
                }));
    }

    @Test
    void aWatchIsToldOfEveryTensorThatIsWritten() {
        try (Arena arena = Arena.ofShared()) {
            Decoder model = ModelFiles.load(GoldenModel.folders().getFirst(), arena);
            List<String> inFolder = new ArrayList<>(), inFile = new ArrayList<>();
            ModelFiles.save(
                    model, dir, DType.F32, (name, done, total) -> inFolder.add(name + " " + done + "/" + total));
            int count = Safetensors.open(dir, arena).tensors().size();
            assertThat(inFolder).hasSize(count).last().asString().endsWith(" " + count + "/" + count);
            Path file = dir.resolve("m.gguf");
            ModelFiles.saveGguf(model, file, DType.F32, w -> {}, (name, done, total) -> inFile.add(name));
            assertThat(inFile)
                    .containsExactlyInAnyOrderElementsOf(
                            Gguf.open(file, arena).tensors().keySet());
        }
    }

    @TestFactory
    Stream<DynamicTest> aGgufFileGivesTheSameBits() {
        return GoldenModel.folders().stream()
                .filter(f -> !f.endsWith("llama-dynamic"))
                .map(folder -> DynamicTest.dynamicTest(folder.getFileName() + "", () -> {
                    try (Arena arena = Arena.ofShared()) {
                        GoldenModel g = GoldenModel.read(folder, arena);
                        Decoder model = ModelFiles.load(folder, arena);
                        Path file = dir.resolve(g.name() + ".gguf");
                        ModelFiles.saveGguf(model, file, DType.F32, w -> {});
                        Decoder back = ModelFiles.load(file, Gguf.open(file, arena), arena);
                        GoldenModel.close("logits", logits(back, g), logits(model, g), 2e-5);
                        assertThat(back.config())
                                .usingRecursiveComparison()
                                .ignoringFields("dropouts", "tokens", "initRange", "rotary")
                                .isEqualTo(model.config());
                    }
                }));
    }

    @Test
    void dynamicScalingCannotStandInGguf() {
        withLlama((model, g, arena) -> {
            Map<String, Object> json = new LinkedHashMap<>(model.config().toJson());
            json.put("rope_scaling", Map.of("type", "dynamic", "factor", 2.0));
            DecoderConfig c = DecoderConfig.of(new anneal.io.JsonObject(json, "x"));
            Decoder dynamic = new Decoder(c, Init.usual(c).weights(c, 1, arena));
            Path file = dir.resolve("x.gguf");
            assertThatThrownBy(() -> ModelFiles.saveGguf(dynamic, file, DType.F32, w -> {}))
                    .hasMessage("GGUF: dynamic rotary scaling cannot be written, its readers do not know it");
            assertThat(file).doesNotExist();
        });
    }

    private interface Body {
        void run(Decoder model, GoldenModel g, Arena arena) throws IOException;
    }

    private static void withLlama(Body body) {
        Path folder = GoldenModel.folders().stream()
                .filter(f -> f.endsWith("llama"))
                .findFirst()
                .orElseThrow();
        try (Arena arena = Arena.ofShared()) {
            body.run(ModelFiles.load(folder, arena), GoldenModel.read(folder, arena), arena);
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    /** The llama folder with its tensors changed. */
    private Path changed(java.util.function.UnaryOperator<List<StoredTensor>> change) {
        Path out = dir.resolve("changed");
        withLlama((model, g, arena) -> {
            Files.createDirectory(out);
            List<StoredTensor> tensors = new ArrayList<>(
                    Safetensors.open(g.folder(), arena).tensors().values());
            new SafetensorsWriter().write(out.resolve("model.safetensors"), change.apply(tensors));
            Json.write(
                    out.resolve("config.json"),
                    Json.read(g.folder().resolve("config.json")).map());
        });
        return out;
    }

    @Test
    void allThatDoesNotFitIsNamedAtOnce() {
        Path bad = changed(tensors -> {
            tensors.removeIf(t -> t.name().equals("model.layers.1.mlp.up_proj.weight"));
            tensors.removeIf(t -> t.name().equals("model.norm.weight"));
            tensors.replaceAll(t -> t.name().equals("model.layers.0.self_attn.q_proj.weight")
                    ? StoredTensor.of(t.name(), new float[6], 2, 3)
                    : t);
            tensors.replaceAll(t -> t.name().equals("lm_head.weight")
                    ? StoredTensor.of(t.name(), new int[(int) t.count()], t.shape())
                    : t);
            tensors.add(StoredTensor.of("model.layers.0.self_attn.q_proj.lora_A", new float[2], 2));
            return tensors;
        });
        try (Arena arena = Arena.ofShared()) {
            assertThatThrownBy(() -> ModelFiles.load(bad, arena))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageStartingWith(bad + ": the tensors do not fit the config: 2 of another shape: ")
                    .hasMessageContaining("model.layers.0.self_attn.q_proj.weight is [2, 3], not [")
                    .hasMessageContaining("lm_head.weight holds I32, not real numbers")
                    .hasMessageContaining("2 missing: model.layers.1.mlp.up_proj.weight [")
                    .hasMessageContaining("model.norm.weight [")
                    .hasMessageEndingWith("; 1 unknown: model.layers.0.self_attn.q_proj.lora_A");
        }
    }

    @Test
    void tablesOfOlderFilesAreLeftOut() {
        Path old = changed(tensors -> {
            tensors.add(StoredTensor.of("model.layers.0.self_attn.rotary_emb.inv_freq", new float[6], 6));
            return tensors;
        });
        try (Arena arena = Arena.ofShared()) {
            assertThat(ModelFiles.load(old, arena).config().layers()).isPositive();
        }
    }

    @Test
    void namesOfTheBareModelAreRead() {
        Path bare = changed(tensors -> {
            tensors.replaceAll(t -> t.renamed(t.name().replaceFirst("^model\\.", "")));
            return tensors;
        });
        withLlama((model, g, arena) ->
                GoldenModel.close("logits", logits(ModelFiles.load(bare, arena), g), logits(model, g), 0));
    }

    @Test
    void shardsUnderAnIndexAreOneModel() {
        withLlama((model, g, arena) -> {
            Path out = Files.createDirectory(dir.resolve("shards"));
            List<StoredTensor> tensors = new ArrayList<>(
                    Safetensors.open(g.folder(), arena).tensors().values());
            new SafetensorsWriter().write(out, "model", tensors, 40_000);
            Json.write(
                    out.resolve("config.json"),
                    Json.read(g.folder().resolve("config.json")).map());
            assertThat(out.resolve("model.safetensors")).doesNotExist();
            GoldenModel.close("logits", logits(ModelFiles.load(out, arena), g), logits(model, g), 0);
        });
    }

    @Test
    void anUnknownArchitectureInGgufIsNamed() {
        Path file = dir.resolve("x.gguf");
        new anneal.io.GgufWriter().put("general.architecture", "mamba").write(file, List.of());
        try (Arena arena = Arena.ofShared()) {
            Gguf gguf = Gguf.open(file, arena);
            assertThatThrownBy(() -> ModelFiles.load(file, gguf, arena))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage(file + ": GGUF: unknown architecture \"mamba\"; known are gpt2, llama, qwen2, qwen3");
        }
    }

    @Test
    void anAdapterThatIsPluggedInIsNotLostSilently() {
        withLlama((model, g, arena) -> {
            String name = "model.layers.0.mlp.up_proj";
            ((Linear) model.find(Linear.class).get(name)).adapter((x, base) -> base.plain(x));
            assertThatThrownBy(() -> ModelFiles.save(model, dir, DType.F32))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("save: an adapter is plugged into " + name
                            + "; merge it, or save the adapter by itself and take it off");
        });
    }

    @Test
    void frozenMatricesLieInTheFileAndTrainedOnesInMemory() {
        withLlama((model, g, arena) -> {
            assertThat(model.trainable()).isEmpty();
            assertThat(model.find(Linear.class).values())
                    .allMatch(l -> l.weight().parameter().isEmpty());
            model.train(arena);
            assertThat(model.find(Linear.class).values())
                    .allMatch(l -> l.weight().parameter().isPresent());
            long sum =
                    model.trainable().values().stream().mapToLong(t -> t.size()).sum();
            assertThat(sum).isEqualTo(model.config().parameterCount());
        });
    }
}
