package anneal.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import anneal.NextToken;
import anneal.Pretrained;
import anneal.TinyModel;
import anneal.train.AdamW;
import anneal.train.Schedule;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The recipes of quantisation, pruning and distillation run, and the figures of their pages come out of them. */
class CompressionRecipesTest {
    private static final String[] THINGS = {"sky", "grass", "sea", "sun", "snow", "rose"};
    private static final String[] COLOURS = {"blue", "green", "grey", "gold", "white", "red"};

    @TempDir
    private static Path shared;

    private static Path model, text, heldOut;

    @TempDir
    private Path dir;

    /** A model that has learnt a few sentences, so that there is something to lose. */
    @BeforeAll
    static void make() throws IOException {
        text = Files.writeString(shared.resolve("text.txt"), sentences(150, 5));
        heldOut = Files.writeString(shared.resolve("held-out.txt"), sentences(40, 7));
        model = shared.resolve("model");
        try (Pretrained lm = TinyModel.create(7)) {
            TrainConfig config = TrainConfig.builder()
                    .steps(60)
                    .schedule(new Schedule.Constant(5e-3, 5))
                    .build();
            try (Trainer trainer = new Trainer(lm.model().parameters(), new AdamW(), config)) {
                trainer.fit(new Texts(text, heldOut).batches(lm), new NextToken(lm.model()));
            }
            lm.save(model);
        }
    }

    /** Sentences that say of each thing its colour, in an order that {@code stride} sets. */
    private static String sentences(int count, int stride) {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < count; i++) {
            int k = i * stride * (1 + i / 6) % THINGS.length;
            text.append("The ")
                    .append(THINGS[k])
                    .append(" is ")
                    .append(COLOURS[k])
                    .append(". ");
        }
        return text.toString();
    }

    private interface Program {
        void run(String... args) throws IOException;
    }

    /** What a recipe prints when it is given the model, the two texts and these arguments. */
    private static List<String> printed(Program program, Object... more) throws IOException {
        List<String> args = new ArrayList<>(List.of(model.toString(), text.toString(), heldOut.toString()));
        Arrays.stream(more).map(Object::toString).forEach(args::add);
        return run(program, args.toArray(String[]::new));
    }

    private static List<String> run(Program program, String... args) throws IOException {
        PrintStream before = System.out;
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (PrintStream to = new PrintStream(bytes, true, StandardCharsets.UTF_8)) {
            System.setOut(to);
            program.run(args);
        } finally {
            System.setOut(before);
        }
        return bytes.toString(StandardCharsets.UTF_8).lines().toList();
    }

    /** The numbers of the line that starts so. */
    private static double[] numbers(List<String> lines, String start) {
        String line = lines.stream()
                .filter(l -> l.strip().startsWith(start))
                .findFirst()
                .orElseThrow(() -> new AssertionError("no line starts with " + start + ": " + lines));
        return Arrays.stream(line.strip().substring(start.length()).split("[^0-9.]+"))
                .filter(s -> s.matches("[0-9.]*[0-9][0-9.]*"))
                .mapToDouble(s -> Double.parseDouble(s.replaceAll("[.]$", "")))
                .toArray();
    }

    private static void isPicture(Path file) throws IOException {
        assertThat(Files.readAllBytes(file)).startsWith(0x89, 'P', 'N', 'G');
    }

    @Test
    void formatsLoseLessWithMoreBits() throws IOException {
        List<String> lines = run(FormatErrors::main, "16", dir.toString());
        assertThat(numbers(lines, "nf4 ")).containsExactly(new double[] {4.5, 9.2}, within(0.3));
        assertThat(numbers(lines, "q8_0 ")).containsExactly(new double[] {8.5, 0.54}, within(0.05));
        assertThat(numbers(lines, "q4_k ")[1]).isLessThan(numbers(lines, "q4_0 ")[1]);
        isPicture(dir.resolve("formats.png"));
        isPicture(dir.resolve("nf4.png"));
    }

    @Test
    void outliersAreSmoothed() throws IOException {
        Path picture = dir.resolve("smoothquant.png");
        List<String> lines = printed(SmoothOutliers::main, 300, picture);
        double floats = numbers(lines, "floats")[0];
        double naive = numbers(lines, "W8A8  ")[0];
        double smooth = numbers(lines, "W8A8 smoothed")[0];
        assertThat(smooth).isCloseTo(floats, within(0.1 * floats));
        assertThat(naive - floats).isGreaterThan(5 * Math.abs(smooth - floats));
        assertThat(lines.getLast()).matches("model.layers.*largest channel of x over the median .*");
        double[] stands = numbers(
                lines.subList(lines.size() - 1, lines.size()), lines.getLast().split(":")[0]);
        assertThat(stands[0]).isGreaterThan(100).isGreaterThan(5 * stands[1]);
        isPicture(picture);
    }

    @Test
    void plantedOutliersChangeNothingInFloats() throws IOException {
        Texts texts = new Texts(text, heldOut);
        double plain = SmoothOutliers.perplexity(model, 1, texts, null);
        assertThat(SmoothOutliers.perplexity(model, 300, texts, null)).isCloseTo(plain, within(1e-4 * plain));
    }

    @Test
    void blocksAreDistilledWhereRoundingLosesMuch() throws IOException {
        Path picture = dir.resolve("zeroquant.png");
        List<String> lines = printed(DistilBlocks::main, 6, picture);
        double floats = numbers(lines, "floats: perplexity")[0];
        double[] eight = numbers(lines, "8 bits"), two = numbers(lines, "2 bits");
        assertThat(eight[0]).isCloseTo(floats, within(0.01 * floats));
        assertThat(two[0]).isGreaterThan(1.1 * floats);
        assertThat(two[1]).isLessThan(two[0]);
        isPicture(picture);
    }

    @Test
    void threeRoundingsAreCompared() throws IOException {
        Path picture = dir.resolve("roundings.png");
        List<String> lines = printed(CompareRoundings::main, 3, picture);
        double rtn = numbers(lines, "rtn INT3 g32")[1], gptq = numbers(lines, "gptq INT3 g32 act-order")[1];
        double awq = numbers(lines, "awq INT3 g32")[1];
        assertThat(gptq).isBetween(0.0, rtn);
        assertThat(awq).isBetween(0.0, rtn);
        assertThat(lines.stream().filter(l -> l.startsWith("model.layers."))).hasSize(14);
        isPicture(picture);
    }

    @Test
    void aPrunedModelRecoversAndItsZerosStay() throws IOException {
        Path picture = dir.resolve("pruning.png");
        List<String> lines = printed(PruneAndRecover::main, 20, picture);
        double whole = numbers(lines, "not pruned: perplexity")[0];
        double[] most = numbers(lines, "80 %");
        assertThat(most[1]).as("Wanda").isGreaterThan(whole);
        assertThat(most[2]).as("recovered").isLessThan(most[1]);
        assertThat(most[3]).as("25 of 32 and 51 of 64").isBetween(78.0, 80.0);
        assertThat(most[4]).as("zeros left").isEqualTo(most[3]);
        assertThat(numbers(lines, "50 %")).endsWith(50, 50);
        isPicture(picture);
    }

    @Test
    void aStudentIsTrainedWithAndWithoutItsTeacher() throws IOException {
        Path output = dir.resolve("distilled");
        List<String> lines = printed(DistilStudent::main, 1, 20, output);
        double[] first = numbers(lines, "0 "), last = numbers(lines, "20 ");
        assertThat(first[0]).as("both start alike").isEqualTo(first[1]);
        assertThat(last[0]).isLessThan(first[0]);
        assertThat(last[1]).isLessThan(first[1]).isNotEqualTo(last[0]);
        try (Pretrained student = Pretrained.load(output.resolve("student"))) {
            assertThat(student.model().config().layers()).isEqualTo(1);
            assertThat(new Texts(text, heldOut).perplexity(student)).isCloseTo(last[1], within(1e-3));
        }
        isPicture(output.resolve("perplexity.png"));
    }
}
