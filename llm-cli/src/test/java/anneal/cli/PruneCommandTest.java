package anneal.cli;

import static anneal.cli.Cli.bad;
import static anneal.cli.Cli.ok;
import static anneal.cli.Cli.with;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import anneal.Pretrained;
import anneal.TinyModel;
import anneal.TinyModelFixture;
import anneal.io.Json;
import anneal.model.DecoderConfig;
import anneal.model.Family;
import anneal.nn.Linear;
import anneal.tensor.DType;
import anneal.text.ChatTemplate;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** prune from the command line: what the written model has lost, what is said of it, what is refused. */
class PruneCommandTest extends TinyModelFixture {
    private static Path text;

    @BeforeAll
    static void make() throws IOException {
        text = Files.writeString(shared.resolve("text.txt"), "The sky is blue. The grass is green. ".repeat(30));
    }

    private List<Object> prune(String method, String output, Object... more) {
        return with(List.of("prune", "--model", model, "--method", method, "--output", dir.resolve(output)), more);
    }

    /** The matrices of the blocks of a saved model, by path. */
    private static Map<String, float[][]> blocks(Path folder) {
        return matrices(folder, ".layers.");
    }

    private static Map<String, float[][]> matrices(Path folder, String inPath) {
        Map<String, float[][]> matrices = new TreeMap<>();
        try (Pretrained lm = Pretrained.load(folder)) {
            lm.model().root().find(Linear.class).forEach((path, linear) -> {
                if (path.contains(inPath)) {
                    float[][] rows = new float[linear.out()][linear.in()];
                    for (int i = 0; i < rows.length; i++) {
                        linear.weight().row(i, rows[i]);
                    }
                    matrices.put(path, rows);
                }
            });
        }
        return matrices;
    }

    private static int zeros(float[] row) {
        int zeros = 0;
        for (float w : row) {
            zeros += w == 0 ? 1 : 0;
        }
        return zeros;
    }

    private static int zeros(float[][] rows) {
        int zeros = 0;
        for (float[] row : rows) {
            zeros += zeros(row);
        }
        return zeros;
    }

    @Test
    void magnitudeTakesTheSmallestOfEachMatrix() throws IOException {
        Cli run = ok(prune("magnitude", "out", "--sparsity", 0.25).toArray());
        assertThat(run.out())
                .containsPattern("self_attn[.]q_proj +2 x 1,024: 512 set to zero \\(25[.]0 %\\)")
                .contains("Set to zero: 4,608 of 18,432 weights in the blocks (25.0 %).")
                .contains(onDisk("out"));
        Map<String, float[][]> before = blocks(model), after = blocks(dir.resolve("out"));
        after.forEach((path, rows) -> {
            assertThat(zeros(rows)).as(path).isEqualTo(rows.length * rows[0].length / 4);
            float largestGone = 0, smallestKept = Float.MAX_VALUE;
            for (int i = 0; i < rows.length; i++) {
                for (int j = 0; j < rows[i].length; j++) {
                    float was = Math.abs(before.get(path)[i][j]);
                    largestGone = rows[i][j] == 0 ? Math.max(largestGone, was) : largestGone;
                    smallestKept = rows[i][j] == 0 ? smallestKept : Math.min(smallestKept, was);
                }
            }
            assertThat(largestGone).as(path).isLessThan(smallestKept);
        });
        ok("generate", "--model", dir.resolve("out"), "--prompt", "What", "--max-tokens", 3);
    }

    @Test
    void scopesSayAmongWhichTheSmallestAre() {
        ok(prune("magnitude", "row", "--sparsity", 0.25, "--scope", "row").toArray());
        blocks(dir.resolve("row"))
                .values()
                .forEach(m -> assertThat(List.of(m)).allMatch(row -> zeros(row) == row.length / 4));
        ok(prune("magnitude", "global", "--sparsity", 0.25, "--scope", "global").toArray());
        assertThat(blocks(dir.resolve("global")).values().stream()
                        .mapToInt(PruneCommandTest::zeros)
                        .sum())
                .isEqualTo(4608);
    }

    @Test
    void wandaLooksAtTheInputs() {
        Cli run = ok(prune("wanda", "wanda", "--sparsity", 0.5, "--data", text, "--samples", 2, "--window", 32)
                .toArray());
        assertThat(run.out()).contains("Set to zero: 9,216 of 18,432");
        ok(prune("magnitude", "row", "--sparsity", 0.5, "--scope", "row").toArray());
        Map<String, float[][]> wanda = blocks(dir.resolve("wanda")), magnitude = blocks(dir.resolve("row"));
        wanda.values().forEach(m -> assertThat(List.of(m)).allMatch(row -> zeros(row) == row.length / 2));
        String down = "model.layers.0.mlp.down_proj";
        assertThat(Arrays.deepEquals(wanda.get(down), magnitude.get(down))).isFalse();
    }

    @Test
    void ofNeighboursSomeStay() {
        ok(prune("nm", "plain").toArray());
        ok(prune("nm", "one", "--pattern", "1:4", "--data", text).toArray());
        blocks(dir.resolve("plain"))
                .values()
                .forEach(m -> assertThat(List.of(m)).allMatch(row -> zeros(row) == row.length / 2));
        blocks(dir.resolve("one"))
                .values()
                .forEach(m -> assertThat(List.of(m)).allMatch(row -> zeros(row) == 3 * row.length / 4));
        for (float[] row : blocks(dir.resolve("plain")).get("model.layers.1.self_attn.k_proj")) {
            for (int i = 0; i < row.length; i += 4) {
                assertThat(zeros(new float[] {row[i], row[i + 1], row[i + 2], row[i + 3]}))
                        .isEqualTo(2);
            }
        }
    }

    @Test
    void layersAndHeadsMakeTheModelSmaller() throws IOException {
        Cli layers =
                ok(prune("layers", "short", "--sparsity", 0.5, "--data", text).toArray());
        assertThat(layers.out()).containsPattern("  layer [01]  0[.]\\d{4}").containsPattern("Parameters: .* less");
        Cli heads =
                ok(prune("heads", "narrow", "--sparsity", 0.5, "--data", text).toArray());
        assertThat(layers.out()).contains(onDisk("short"));
        assertThat(heads.out())
                .contains(onDisk("narrow"))
                .contains("key heads each with 2 query heads")
                .containsPattern("  layer 0  heads [01]\\R  layer 1  heads [01]\\R");
        assertThat(Json.read(dir.resolve("short/config.json")).map()).containsEntry("num_hidden_layers", 1);
        assertThat(Json.read(dir.resolve("narrow/config.json")).map())
                .containsEntry("num_attention_heads", 2)
                .containsEntry("num_key_value_heads", 1);
        for (String name : List.of("short", "narrow")) {
            assertThat(size(dir.resolve(name))).isLessThan(size(model));
            ok("generate", "--model", dir.resolve(name), "--prompt", "What", "--max-tokens", 3);
        }
    }

    @Test
    void channelsGoInWholeBlocksAndAGgufFileOpens() throws IOException {
        Cli run = ok(prune("width", "narrow", "--sparsity", 0.4, "--data", text).toArray());
        assertThat(run.out())
                .contains("Of the 64 channels of each feed-forward network 32 stay.")
                .containsPattern("  layer 1  [1-4]?\\d[.]\\d %")
                .contains(onDisk("narrow"));
        assertThat(Json.read(dir.resolve("narrow/config.json")).map()).containsEntry("intermediate_size", 32);
        for (String method : List.of("width", "heads", "layers")) {
            ok(prune(method, method + ".gguf", "--sparsity", 0.5, "--data", text)
                    .toArray());
            Path file = dir.resolve(method + ".gguf");
            ok("generate", "--model", file, "--prompt", "What", "--max-tokens", 3);
            try (Pretrained lm = Pretrained.load(file);
                    Pretrained before = Pretrained.load(model)) {
                assertThat(lm.model().config().parameterCount())
                        .isLessThan(before.model().config().parameterCount());
            }
        }
    }

    @Test
    void factorsMakeTheFileSmallerAndCanBeTrained() throws IOException {
        Cli plain = ok(prune("svd", "plain", "--sparsity", 0.5).toArray());
        assertThat(plain.out())
                .containsPattern("model.layers.0.self_attn.q_proj +8 +50[.]0 %  \\d+[.]\\d %")
                .contains("lost of the matrix")
                .contains("Numbers in the blocks' matrices: 18,432 before, 8,768 after (52.4 % less).")
                .contains(onDisk("plain"));
        Cli weighted = ok(prune("svd", "weighted", "--energy", 0.9, "--data", text, "--dtype", "bf16")
                .toArray());
        assertThat(weighted.out()).contains("lost of the output");
        for (String name : List.of("plain", "weighted")) {
            assertThat(size(dir.resolve(name))).isLessThan(size(model));
            ok("generate", "--model", dir.resolve(name), "--prompt", "What", "--max-tokens", 3);
        }
        Path data = TinyModel.conversations(dir.resolve("chats.jsonl"), 8);
        List<Object> sft = List.of("sft", "--model", dir.resolve("plain"), "--data", data, "--iters", 2);
        List<Object> small = with(sft, "--valid-split", 0, "--max-seq-length", 64);
        ok(with(small, "--full", "--output", dir.resolve("sft")).toArray());
        assertThat(size(dir.resolve("sft"))).isEqualTo(size(dir.resolve("plain")));
        assertThat(Files.mismatch(dir.resolve("sft/model.safetensors"), dir.resolve("plain/model.safetensors")))
                .isPositive();
        ok(with(small, "--output", dir.resolve("lora")).toArray());
    }

    private String onDisk(String output) throws IOException {
        return String.format(
                Locale.ROOT,
                "On disk: %.2f MB before, %.2f MB after.",
                size(model) / 1e6,
                size(dir.resolve(output)) / 1e6);
    }

    private static long size(Path folder) throws IOException {
        return Files.size(folder.resolve("model.safetensors"));
    }

    @Test
    void theResultHasTheTypeOfTheModelOrTheOneAskedFor() throws IOException {
        Path half = shared.resolve("half");
        try (Pretrained lm = Pretrained.load(model)) {
            lm.save(half, DType.BF16);
        }
        ok(with(prune("magnitude", "half", "--sparsity", 0.5), "--model", half).toArray());
        assertThat((double) size(dir.resolve("half"))).isCloseTo(size(half), within(0.01 * size(half)));
        ok(with(prune("magnitude", "full", "--sparsity", 0.5, "--dtype", "f32"), "--model", half)
                .toArray());
        assertThat((double) size(dir.resolve("full"))).isCloseTo(size(model), within(0.01 * size(model)));
    }

    private static List<String> formats(Path path) {
        try (Pretrained lm = Pretrained.load(path)) {
            return lm.model().root().find(Linear.class).values().stream()
                    .map(l -> l.weight().format())
                    .distinct()
                    .toList();
        }
    }

    @Test
    void layersGoAndTheOthersStayQuantised() {
        for (String[] kind : new String[][] {{"q4_1", ".gguf", "Q4_1"}, {"nf4", "", "NF4-DQ"}}) {
            Path base = dir.resolve("base" + kind[1]), out = dir.resolve("short" + kind[1]);
            ok("quantize", "--model", model, "--format", kind[0], "--output", base);
            List<Object> prune =
                    with(prune("layers", out.toString(), "--sparsity", 0.5, "--data", text), "--model", base);
            assertThat(ok(prune.toArray()).out()).doesNotContain("written as");
            assertThat(formats(out)).containsExactlyElementsOf(formats(base)).contains(kind[2]);
            ok("generate", "--model", out, "--prompt", "What", "--max-tokens", 3);
            Path other = dir.resolve("other" + (kind[1].isEmpty() ? ".gguf" : ""));
            assertThat(ok(with(prune, "--output", other).toArray()).out())
                    .contains(
                            "Matrices in " + kind[2] + " are written as F32, since a ",
                            "anneal quantize on the result");
            assertThat(formats(other)).containsExactly("F32");
            assertThat(ok(with(prune, "--output", dir.resolve("f16" + kind[1]), "--dtype", "f16")
                                    .toArray())
                            .out())
                    .as("as asked for")
                    .doesNotContain("are written as");
            assertThat(ok(with(prune("width", "w" + kind[1], "--sparsity", 0.5, "--data", text), "--model", base)
                                    .toArray())
                            .out())
                    .contains("since numbers inside its blocks change or go with --method width");
        }
    }

    @Test
    void whatDoesNotFitIsNamed() {
        bad(prune("magnitude", "out"), "--method magnitude needs --sparsity");
        bad(prune("magnitude", "out", "--sparsity", 1), "--sparsity 1.0 must be in (0, 1)");
        bad(prune("magnitude", "out", "--sparsity", 0.5, "--data", text), "--data does not go with --method magnitude");
        bad(prune("magnitude", "out", "--sparsity", 0.5, "--window", 8), "--samples and --window need --data");
        bad(prune("magnitude", "out", "--sparsity", 0.5, "--pattern", "2:4"), "--pattern needs --method nm");
        bad(prune("wanda", "out", "--sparsity", 0.5), "--method wanda needs --data");
        bad(prune("nm", "out", "--sparsity", 0.5), "--sparsity does not go with --method nm");
        bad(prune("nm", "out", "--pattern", "two"), "--pattern two must be like 2:4");
        bad(prune("nm", "out", "--pattern", "4:2"), "4 of 2 must leave some and drop some");
        bad(prune("nm", "out", "--pattern", "2:5"), "no whole groups of 5");
        bad(prune("layers", "out", "--sparsity", 0.5, "--data", text, "--scope", "row"), "--scope does not go with");
        bad(prune("layers", "out", "--sparsity", 0.1, "--data", text), "takes 0 of the model's 2 layers");
        bad(prune("heads", "out", "--sparsity", 0.9, "--data", text), "takes 2 of the model's 2 key heads");
        bad(prune("wanda", "out", "--sparsity", 0.5, "--data", text, "--window", 97), "over the model's limit of 96");
        bad(prune("wanda", "out", "--sparsity", 0.5, "--data", text, "--samples", 999), "999 windows of 96 need");
        bad(prune("wanda", "out", "--sparsity", 0.5, "--data", dir.resolve("none.txt")), "none.txt");
        bad(prune("width", "out", "--sparsity", 0.999, "--data", text), "takes 64 of the model's 64 channels");
        bad(prune("width", "out", "--sparsity", 0.5), "--method width needs --data");
        bad(prune("svd", "out"), "--method svd needs either --sparsity or --energy");
        bad(prune("svd", "out", "--sparsity", 0.5, "--energy", 0.5), "--method svd needs either");
        bad(prune("svd", "out", "--energy", 1), "--energy 1.0 must be in (0, 1)");
        bad(prune("layers", "out", "--sparsity", 0.5, "--energy", 0.5, "--data", text), "--energy needs --method svd");
        bad(prune("svd", "out.gguf", "--sparsity", 0.5), "no GGUF file holds matrices as products; name a folder");
        bad(prune("magnitude", "out", "--sparsity", 0.5, "--dtype", "q8_0"), "--dtype Q8_0 must be f32, f16 or bf16");
        bad(prune("random", "out", "--sparsity", 0.5), "--method", "random", "wanda");
        assertThat(dir.resolve("out")).doesNotExist();
        bad(with(prune("magnitude", "out", "--sparsity", 0.5), "--output", shared), "output exists already");
        assertThat(ok("prune", "--help").out()).contains("--sparsity", "Examples:", "2:4");
    }

    private List<Object> sft(Path pruned, String output, int steps, Object... more) {
        return with(
                Cli.tune(pruned, data, dir.resolve(output), steps),
                with(List.of("--lr-scheduler", "constant", "--warmup", 0, "--valid-split", 0), more)
                        .toArray());
    }

    /** How many zeros of one model are none in the other, of all that it has. */
    private static int[] moved(Map<String, float[][]> before, Map<String, float[][]> after) {
        int[] moved = new int[2];
        before.forEach((path, rows) -> {
            for (int i = 0; i < rows.length; i++) {
                for (int j = 0; j < rows[i].length; j++) {
                    moved[0] += rows[i][j] == 0 && after.get(path)[i][j] != 0 ? 1 : 0;
                    moved[1] += rows[i][j] == 0 ? 1 : 0;
                }
            }
        });
        return moved;
    }

    @Test
    void zerosOfAFileStayThroughTraining() throws IOException {
        Path pruned = dir.resolve("pruned");
        ok(prune("nm", "pruned", "--pattern", "2:4", "--dtype", "f32").toArray());
        Map<String, float[][]> before = blocks(pruned);
        Cli run = ok(sft(pruned, "kept", 3, "--full", "--keep-zeros").toArray());
        int[] kept = moved(before, blocks(dir.resolve("kept")));
        assertThat(kept[0]).isZero();
        assertThat(run.out()).contains(String.format(Locale.ROOT, "%,d zeros of 14 matrices stay (50.0 %%)", kept[1]));
        blocks(dir.resolve("kept")).values().forEach(rows -> {
            for (float[] row : rows) {
                for (int j = 0; j < row.length; j += 4) {
                    assertThat(zeros(Arrays.copyOfRange(row, j, j + 4))).isEqualTo(2);
                }
            }
        });

        ok(sft(pruned, "parts", 1, "--full", "--keep-zeros").toArray());
        ok(sft(pruned, "parts", 3, "--full", "--keep-zeros", "--resume").toArray());
        assertThat(Files.readAllBytes(dir.resolve("parts/model.safetensors")))
                .isEqualTo(Files.readAllBytes(dir.resolve("kept/model.safetensors")));
        ok(sft(pruned, "lost", 3, "--full").toArray());
        assertThat(moved(before, blocks(dir.resolve("lost")))[0]).isGreaterThan(kept[1] / 2);
    }

    @Test
    void zerosStayInAdaptersThatTrainTheWeights() {
        Path pruned = dir.resolve("pruned");
        ok(prune("nm", "pruned", "--pattern", "2:4", "--dtype", "f32").toArray());
        Map<String, float[][]> before = blocks(pruned);
        for (String method : List.of("lisa", "last_layers")) {
            for (boolean keep : new boolean[] {true, false}) {
                String name = method + keep;
                List<Object> run = sft(pruned, name, 2, "--adapter", method);
                Cli tuned = ok((keep ? with(run, "--keep-zeros") : run).toArray());
                assertThat(tuned.out()
                                .contains("zeros of " + (method.equals("lisa") ? 14 : 7) + " matrices stay (50.0 %)"))
                        .as("of the matrices that are trained: " + tuned.out())
                        .isEqualTo(keep);
                ok(
                        "merge",
                        "--model",
                        pruned,
                        "--adapter",
                        dir.resolve(name),
                        "--output",
                        dir.resolve(name + "-merged"),
                        "--dtype",
                        "f32");
                int moved = moved(before, blocks(dir.resolve(name + "-merged")))[0];
                assertThat(moved > 0).as(name).isEqualTo(!keep);
            }
        }
    }

    /** GPT-2 stores matrices the other way round. */
    @Test
    void zerosOfTransposedMatricesStayToo() {
        DecoderConfig config = DecoderConfig.builder(Family.GPT2)
                .vocabSize(TinyModel.VOCABULARY)
                .hiddenSize(32)
                .feedForwardSize(64)
                .layers(2)
                .heads(4, 4, 8)
                .contextLength(TinyModel.CONTEXT)
                .build();
        Path gpt2 = dir.resolve("gpt2"), pruned = dir.resolve("pruned");
        try (Pretrained lm = Pretrained.create(config, TinyModel.tokenizer(), 7)) {
            lm.chatTemplate(ChatTemplate.chatml()).save(gpt2);
        }
        ok(with(prune("nm", "pruned", "--pattern", "2:4", "--dtype", "f32"), "--model", gpt2)
                .toArray());
        ok(sft(pruned, "kept", 2, "--full", "--keep-zeros").toArray());
        Map<String, float[][]> before = matrices(pruned, ".h."), after = matrices(dir.resolve("kept"), ".h.");
        assertThat(moved(before, after)[0]).isZero();
        assertThat(moved(before, after)[1]).isEqualTo(2 * (32 * 96 + 32 * 32 + 2 * 32 * 64) / 2);
        assertThat(after.get("transformer.h.0.attn.c_attn")).isNotEqualTo(before.get("transformer.h.0.attn.c_attn"));
        bad(sft(pruned, "no", 2, "--adapter", "lisa", "--keep-zeros"), "--keep-zeros needs --full with this family");
    }

    @Test
    void zerosThatCannotBeKept() {
        bad(sft(model, "out", 2, "--full", "--keep-zeros"), "none of 14 matrices has 1 % of its numbers at 0");
        bad(sft(model, "out", 2, "--keep-zeros"), "--keep-zeros needs --full, --adapter lisa or last_layers");
        bad(
                sft(model, "out", 2, "--keep-zeros", "--adapter", "lisa", "--quantize", "nf4"),
                "--keep-zeros does not go with --quantize");
        assertThat(dir.resolve("out")).doesNotExist();
    }
}
