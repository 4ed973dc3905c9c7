package anneal.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.Pretrained;
import anneal.TinyModel;
import anneal.TinyModelFixture;
import anneal.data.LabelledText;
import anneal.kernels.Compute;
import anneal.model.Tokens;
import anneal.peft.Adapters;
import anneal.peft.Lora;
import anneal.peft.RankReport;
import anneal.tensor.Memory;
import anneal.tensor.Tape;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Every recipe runs. */
class RecipesTest extends TinyModelFixture {
    private interface Program {
        void run() throws IOException;
    }

    private static String printed(Program program) throws IOException {
        PrintStream before = System.out;
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (PrintStream to = new PrintStream(bytes, true, StandardCharsets.UTF_8)) {
            System.setOut(to);
            program.run();
        } finally {
            System.setOut(before);
        }
        return bytes.toString(StandardCharsets.UTF_8);
    }

    @Test
    void aModelAnswers() throws IOException {
        String[] args = {model.toString(), "What colour is the sky?"};
        String answer = printed(() -> LoadAndChat.main(args));
        assertThat(answer).isNotBlank().isEqualTo(printed(() -> LoadAndChat.main(args)));
    }

    @Test
    void anAdapterIsTrainedAndMerged() throws IOException {
        Path adapter = dir.resolve("adapter"), merged = dir.resolve("merged");
        String log = printed(() -> LoraSft.main(new String[] {model.toString(), data.toString(), adapter.toString()}));
        assertThat(log).contains("StepReport", "loss=");
        assertThat(adapter.resolve("adapter_config.json")).isNotEmptyFile();
        assertThat(adapter.resolve("adapter_model.safetensors")).isNotEmptyFile();
        LoraSft.merge(model, adapter, merged);
        try (Pretrained lm = Pretrained.load(merged)) {
            assertThat(lm.model().vocabSize()).isEqualTo(TinyModel.VOCABULARY);
        }
    }

    @Test
    void aModelInFourBitsIsTunedAndMerged() throws IOException {
        Path output = dir.resolve("qlora");
        String[] args = {model.toString(), data.toString(), "20", output.toString()};
        List<String> lines = printed(() -> Qlora.main(args)).lines().toList();
        assertThat(lines.getFirst()).matches("base: [0-9,]+ bytes, [0-9,]+ before; worst layer lost [0-9.]+ %");
        assertThat(lines.get(1)).matches("trained: [0-9,]+ parameters");
        assertThat(lines.getLast()).startsWith("perplexity held out: ");
        String[] words = lines.getLast().split(" ");
        assertThat(Double.parseDouble(words[5])).as(lines.getLast()).isLessThan(Double.parseDouble(words[3]));
        try (Stream<Path> files = Files.list(output.resolve("adapter"))) {
            assertThat(files.map(f -> f.getFileName().toString()))
                    .as("the pages of the optimiser are gone")
                    .containsExactlyInAnyOrder("adapter_config.json", "adapter_model.safetensors");
        }
        int[] ids = {5, 6, 7, 8};
        try (Pretrained rounded = Pretrained.load(model);
                Pretrained merged = Pretrained.load(output.resolve("merged"))) {
            Qlora.quantise(rounded.model());
            Adapters.load(rounded.model().root(), output.resolve("adapter"));
            float[] applied = logits(rounded, ids), whole = logits(merged, ids);
            for (int i = 0; i < whole.length; i++) {
                assertThat(whole[i]).isCloseTo(applied[i], within(1e-4f));
            }
        }
    }

    private static float[] logits(Pretrained lm, int... ids) {
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            return lm.model().logits(Tokens.of(ids)).toArray();
        }
    }

    @Test
    void aPrefixIsTrained() throws IOException {
        Path output = dir.resolve("prefix");
        String[] args = {model.toString(), data.toString(), "40", "What colour is the sky?", output.toString()};
        List<String> lines = printed(() -> PrefixTune.main(args)).lines().toList();
        assertThat(lines.getFirst()).isEqualTo("trained: 640 numbers; the context has room for 86 tokens besides");
        String losses =
                lines.stream().filter(l -> l.startsWith("loss: ")).findFirst().orElseThrow();
        String[] words = losses.split(" ");
        double without = Double.parseDouble(words[1]), fresh = Double.parseDouble(words[5]);
        assertThat(Double.parseDouble(words[10])).as(losses).isLessThan(without).isLessThan(fresh);
        assertThat(lines.stream().filter(l -> l.matches("(without|with): .*"))).hasSize(2);
        assertThat(output.resolve("adapter_config.json")).content().contains("PREFIX_TUNING");
    }

    /** The table of a program's run, without the method that this model does not bear. */
    private static List<String[]> compared(String data, int steps, Path output) throws IOException {
        String[] args = {model.toString(), data, "1000", String.valueOf(steps), output.toString()};
        String table = printed(() -> CompareAdapters.main(args));
        assertThat(table).contains("| BitFit | BitFit: the model has no biases to train");
        List<String[]> rows = table.lines()
                .filter(l -> l.matches(".*[0-9] [|]"))
                .map(l -> l.split(" *[|] *"))
                .toList();
        assertThat(rows).as(table).hasSize(Candidate.ALL.size() - 1);
        assertThat(Files.readAllBytes(output.resolve("accuracy.png"))).startsWith(0x89, 'P', 'N', 'G');
        return rows;
    }

    @Test
    void methodsAreComparedOnGeneratedTexts() throws IOException {
        Path output = dir.resolve("compared");
        List<String[]> rows = compared("generated", 3, output);
        assertThat(rows).allSatisfy(row -> {
            long parameters = Long.parseLong(row[3].replace(",", ""));
            long most = Map.of("last layers", 12_000, "LISA", 100_000)
                    .getOrDefault(row[1], 1000); // whole blocks have no rank
            assertThat(parameters).isLessThanOrEqualTo(most);
            double accuracy = Double.parseDouble(row[6]);
            assertThat(accuracy).isBetween(35.0, 65.0);
            assertThat(Double.parseDouble(row[7]))
                    .isCloseTo(Math.sqrt(accuracy * (100 - accuracy) / 400), within(0.06));
        });
        assertThat(rows.stream().map(row -> row[1] + " " + row[2]))
                .as("half of LoRA's numbers are trained, so there is room for twice the rank")
                .contains("LoRA 4", "LoRA+ 4", "PiSSA 4", "LoRA-FA 10");
        List<LabelledText> texts = LabelledText.read(output.resolve("generated.jsonl"));
        assertThat(texts).hasSize(1600).allSatisfy(t -> {
            String[] parts = t.text().split(": ");
            List<String> verdicts = Stream.of(parts[0].split(", "))
                    .filter(v -> v.startsWith(parts[1] + " "))
                    .toList();
            assertThat(verdicts).as(t.text()).hasSize(1);
            boolean praised = verdicts.getFirst().matches(".* (good|fine|great|lovely)");
            assertThat(t.label()).isEqualTo(praised != verdicts.getFirst().contains(" not ") ? "good" : "bad");
        });
    }

    @Test
    void methodsLearnToTellFilesApart() throws IOException {
        Path sky = Files.writeString(dir.resolve("sky.txt"), "the sky is blue and so is the sea ".repeat(9));
        Path more = Files.writeString(dir.resolve("more.txt"), "four and three are seven, not eight ".repeat(9));
        Path texts = dir.resolve("texts.jsonl");
        String[] args = {texts.toString(), "200", "3", sky.toString(), more.toString()};
        printed(() -> TextSources.main(args));
        Map<String, Double> accuracies = compared(texts.toString(), 200, dir.resolve("apart")).stream()
                .collect(Collectors.toMap(row -> row[1], row -> Double.parseDouble(row[6])));
        assertThat(accuracies)
                .as("which learn enough in this time: " + accuracies)
                .extractingByKeys("LoRA", "PiSSA", "LoRA+", "LoRA-FA", "IA3", "LN tuning", "prefix tuning", "P-tuning")
                .allMatch(accuracy -> accuracy > accuracies.get("head alone") + 10);
    }

    @Test
    void piecesOfFilesBecomeLabelledTexts() throws IOException {
        Path sky = Files.writeString(dir.resolve("sky.txt"), "the sky is blue\n\nand so is the sea\n".repeat(3));
        Path more = Files.writeString(dir.resolve("more.jsonl"), "{\"text\": \"grass is green all over\"}\n");
        Path texts = dir.resolve("texts.jsonl");
        String[] args = {texts.toString(), "5", "4", sky.toString(), more.toString()};
        assertThat(printed(() -> TextSources.main(args))).isEqualTo("10 pieces of 2 files" + System.lineSeparator());
        List<LabelledText> pieces = LabelledText.read(texts);
        assertThat(pieces.stream().map(LabelledText::label))
                .containsExactly("sky", "sky", "sky", "sky", "sky", "more", "more", "more", "more", "more");
        assertThat(pieces.subList(5, 10))
                .allSatisfy(t -> assertThat(t.text()).isIn("grass is green all", "is green all over"));
        args[2] = "6";
        assertThatThrownBy(() -> TextSources.main(args))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage(more + ": has 5 words; a piece has 6");
    }

    @Test
    void ranksAreFoundAndDrawn() throws IOException {
        Path output = dir.resolve("adalora");
        String[] args = {model.toString(), data.toString(), "12", output.toString()};
        String printed = printed(() -> AdaLoraRanks.main(args));
        List<String> last = printed.lines().toList();
        assertThat(last.getLast()).as("14 modules of 8 on average, 12 at first").matches("all +112 +168");
        assertThat(printed).contains("penalty=", "model.layers.1.mlp.down_proj");
        assertThat(output.resolve("adapter_config.json")).content().contains("model.layers.0.self_attn.q_proj.lora_E");
        assertThat(Files.readAllBytes(output.resolve("ranks.png"))).startsWith(0x89, 'P', 'N', 'G');
        try (Pretrained lm = Pretrained.load(model)) {
            Adapters adapters = Adapters.load(lm.model().root(), output);
            assertThat(RankReport.of(adapters).total()).isEqualTo(112);
        }
    }

    @Test
    void singularValuesOfWeightsAndOfWhatWasLearnt() throws IOException {
        List<SingularValues.Spectrum> all = SingularValues.spectra(model, data, 4);
        assertThat(all)
                .extracting(SingularValues.Spectrum::name)
                .containsExactly("q_proj: W", "q_proj: update", "down_proj: W", "down_proj: update");
        all.forEach(s -> {
            assertThat(s.values()).hasSize(32).isSortedAccordingTo((a, b) -> Double.compare(b, a));
            assertThat(s.part(8)).isBetween(8 / 32.0, 1.0);
            assertThat(s.part(32)).isEqualTo(1);
        });
        SingularValues.draw(all, dir.resolve("values.png"));
        assertThat(Files.readAllBytes(dir.resolve("values.png"))).startsWith(0x89, 'P', 'N', 'G');
    }

    @Test
    void twoAdaptersServeOneBatch() throws IOException {
        Path sky = dir.resolve("sky"), sea = dir.resolve("sea");
        try (Pretrained lm = Pretrained.load(model)) {
            for (Path folder : List.of(sky, sea)) {
                Adapters adapters = Lora.rank(2)
                        .init(Lora.Init.RANDOM)
                        .on("all-linear")
                        .attach(lm.model().root(), folder.hashCode());
                adapters.save(folder);
                adapters.detach();
            }
        }
        String[] args = {model.toString(), sky.toString(), sea.toString()};
        List<String> lines = printed(() -> ServeAdapters.main(args)).lines().toList();
        assertThat(lines).hasSize(4);
        assertThat(lines.stream().map(l -> l.substring(l.indexOf(": "))).distinct())
                .as("all four differ")
                .hasSize(4);
    }

    @Test
    void aModelIsTrainedFromScratch() throws IOException {
        Path text = Files.writeString(dir.resolve("text.txt"), "the sky is blue and the grass is green\n".repeat(40));
        Path output = dir.resolve("scratch");
        String log = printed(() -> TrainFromScratch.main(new String[] {text.toString(), "12", output.toString()}));
        assertThat(log.lines().filter(l -> l.startsWith("StepReport"))).isNotEmpty();
        try (Pretrained lm = Pretrained.load(output)) {
            assertThat(lm.tokenizer().decode(lm.tokenizer().encode("blue grass")))
                    .isEqualTo("blue grass");
        }
    }

    @Test
    void twoTasksAreLearntInFourWays() throws IOException {
        Path first = Files.writeString(dir.resolve("first.txt"), "the sky is blue and the grass is green\n".repeat(60));
        Path second = Files.writeString(dir.resolve("second.txt"), "four and three are seven, not eight\n".repeat(60));
        Path picture = dir.resolve("forgotten.png");
        String[] args = {model.toString(), first.toString(), second.toString(), "10", picture.toString()};
        List<String> rows = printed(() -> LearnTwoTasks.main(args)).lines().toList();
        assertThat(rows).hasSize(1 + LearnTwoTasks.Way.values().length);
        assertThat(rows.stream().skip(1)).allMatch(row -> row.matches("[a-z]+( +[0-9]+\\.[0-9]{4}){3}"));
        assertThat(rows.stream().skip(1).distinct()).hasSize(4);
        assertThat(Files.readAllBytes(picture)).startsWith(0x89, 'P', 'N', 'G');
    }

    @Test
    void methodsOfThreePagesAreDrawnAtTheBestOfTheirRates() throws IOException {
        Path text = Files.writeString(dir.resolve("text.txt"), "the sky is blue and the grass is green\n".repeat(60));
        Path held = Files.writeString(dir.resolve("held.txt"), "the grass is blue and the sky is green\n".repeat(4));
        String[] args = {model.toString(), text.toString(), held.toString(), "4", dir.toString(), "0.003", "0.03"};
        String table = printed(() -> TuningCurves.main(args));
        List<String[]> rows = table.lines()
                .filter(l -> l.matches(".*[0-9] [|]"))
                .map(l -> l.split(" *[|] *"))
                .toList();
        assertThat(rows)
                .as(table)
                .hasSize(13)
                .allSatisfy(row -> assertThat(Double.parseDouble(row[5])).isLessThan(Double.parseDouble(row[4])));
        assertThat(rows.stream().skip(10).mapToLong(row -> Long.parseLong(row[3].replace(",", ""))))
                .as("bottlenecks of about one size: " + table)
                .containsExactly(648L, 584L, 584L);
        TuningCurves.Way lora = TuningCurves.PAGES.getFirst().ways().getFirst();
        Texts texts = new Texts(text, held);
        List<Double> rates = List.of(0.003, 0.03);
        List<TuningCurves.Curve> all = rates.stream()
                .map(rate -> TuningCurves.train(model, lora, rate, texts, 4))
                .toList();
        TuningCurves.Curve best = TuningCurves.best(model, lora, rates, texts, 4);
        assertThat(all)
                .contains(best)
                .allSatisfy(curve -> assertThat(curve.losses().getLast())
                        .isGreaterThanOrEqualTo(best.losses().getLast()));
        assertThat(table).contains(best.toString());
        assertThat(best.steps()).containsExactly(0, 1, 2, 3, 4);
        assertThatThrownBy(() -> TuningCurves.best(model, lora, List.of(), texts, 4))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("TuningCurves: name at least one learning rate");
        for (TuningCurves.Page page : TuningCurves.PAGES) {
            assertThat(Files.readAllBytes(dir.resolve(page.name() + ".png"))).startsWith(0x89, 'P', 'N', 'G');
        }
    }

    @Test
    void aLossOfOnesOwnFalls() throws IOException {
        double first = CustomLoss.train(model, data, 1), later = CustomLoss.train(model, data, 12);
        assertThat(later).isPositive().isLessThan(first);
        assertThat(printed(() -> CustomLoss.main(new String[] {model.toString(), data.toString(), "1"})))
                .startsWith(String.valueOf(first));
    }

    @Test
    void precisionsAreCompared() throws IOException {
        Path text = Files.writeString(dir.resolve("some.txt"), "the sky is blue and the grass is green\n".repeat(10));
        String printed =
                printed(() -> ComparePrecision.main(new String[] {model.toString(), text.toString(), "6", "24"}));
        assertThat(printed).contains("perplexity in F32", "perplexity in BF16", "perplexity in INT8");
        List<String> rows = printed.lines().filter(l -> l.endsWith(" %")).toList();
        assertThat(rows).hasSize(6).allSatisfy(l -> {
            double apart = Double.parseDouble(l.strip().split(" +")[3]);
            assertThat(apart).isBetween(-2.0, 2.0);
        });
        assertThat(ComparePrecision.losses(model, text, 6, 24, Compute.BF16))
                .isNotEqualTo(ComparePrecision.losses(model, text, 6, 24, Compute.F32));
    }

    @Test
    void tiledAttentionTakesMemoryInProportionToTheLength() throws IOException {
        List<AttentionMemory.Row> rows = AttentionMemory.measure(1024);
        assertThat(rows).hasSize(2);
        assertThat(rows.get(1).tiled() / rows.get(0).tiled()).isBetween(1.7, 2.3);
        assertThat(rows.get(1).plain() / rows.get(0).plain()).isGreaterThan(3);
        AttentionMemory.draw(rows, dir.resolve("memory.png"));
        assertThat(Files.readAllBytes(dir.resolve("memory.png"))).startsWith(0x89, 'P', 'N', 'G');
    }
}
