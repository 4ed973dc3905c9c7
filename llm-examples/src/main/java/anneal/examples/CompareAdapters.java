package anneal.examples;

import anneal.Classification;
import anneal.Confusion;
import anneal.Pretrained;
import anneal.data.LabelledBatch;
import anneal.data.LabelledDataset;
import anneal.data.LabelledText;
import anneal.io.Json;
import anneal.model.SequenceClassifier;
import anneal.tensor.Memory;
import anneal.tensor.Rng;
import anneal.tensor.Tape;
import anneal.train.AdamW;
import anneal.train.ParameterGroup;
import anneal.train.Schedule;
import anneal.train.StepReport;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import java.awt.Color;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.IntStream;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.CategoryChart;
import org.knowm.xchart.CategoryChartBuilder;
import org.knowm.xchart.CategorySeries;
import org.knowm.xchart.style.markers.SeriesMarkers;

/**
 * Every method of llm-peft teaches one classification, with about as many parameters, as many steps and the same texts in the same
 * order, and its own learning rate: {@code CompareAdapters MODEL DATA PARAMETERS STEPS OUTPUT}. DATA is a file of labelled texts, of
 * which {@link #HELD} are held out, or the word generated.
 *
 * <p>A method has the largest size that keeps it within the parameters, if its smallest one does. The head is as new for all of them, so
 * it learns at one rate and is not counted. The model is one with LLaMA's names of layers.
 */
public final class CompareAdapters {
    private static final int BATCH = 8, GENERATED = 1600, VERDICTS = 2;
    private static final double HELD = 0.25, HEAD_RATE = 1e-3;

    /** Parameter, gradient and two moments, in floats. */
    private static final int BYTES = 4 * Float.BYTES;

    private CompareAdapters() {}

    /**
     * What came out.
     *
     * @param parameters trained, the head's not counted
     * @param megabytes of one step: what the batch with the longest rows computes, and all that is kept of each parameter
     * @param accuracy on texts held out
     * @param held number of these texts
     */
    record Row(
            String method,
            int size,
            long parameters,
            double megabytes,
            double tokensPerSecond,
            double accuracy,
            long held) {
        /** Standard error of the accuracy: sqrt(p (1 - p) / n). */
        double error() {
            return Math.sqrt(accuracy * (1 - accuracy) / held);
        }

        @Override
        public String toString() {
            return String.format(
                    Locale.ROOT,
                    "| %s | %s | %,d | %,.0f | %,.0f | %.1f | %.1f |",
                    method,
                    size == 0 ? "" : size,
                    parameters,
                    megabytes,
                    tokensPerSecond,
                    100 * accuracy,
                    100 * error());
        }
    }

    /** Prints the table; writes accuracy.png. */
    public static void main(String[] args) throws IOException {
        Path output = Files.createDirectories(Path.of(args[4]));
        Path data =
                args[1].equals("generated") ? generate(output.resolve("generated.jsonl"), GENERATED) : Path.of(args[1]);
        long budget = Long.parseLong(args[2]);
        int steps = Integer.parseInt(args[3]);
        System.out.println("| method | size | parameters | MB a step | tokens/s | accuracy, % | standard error |");
        System.out.println("| --- | --- | --- | --- | --- | --- | --- |");
        List<Row> rows = new ArrayList<>();
        for (Candidate c : Candidate.ALL) {
            try {
                rows.add(row(c, Path.of(args[0]), data, budget, steps));
                System.out.println(rows.getLast());
            } catch (IllegalArgumentException | IllegalStateException e) { // no biases for BitFit, no LAPACK for PiSSA
                System.out.println("| " + c.name() + " | " + e.getMessage() + " ||||||");
            }
        }
        draw(rows, output.resolve("accuracy.png"));
    }

    static Row row(Candidate candidate, Path model, Path file, long budget, int steps) {
        try (Pretrained lm = Pretrained.load(model);
                Arena arena = Arena.ofShared()) {
            List<LabelledText> texts = LabelledText.read(file);
            List<String> labels = LabelledText.labels(texts);
            LabelledDataset.Split data =
                    LabelledDataset.of(texts, labels, lm.tokenizer()).split(HELD, 1);
            int padding = lm.tokenizer().eos().orElseThrow(); // a causal model never sees what is behind the text
            SequenceClassifier classifier = new SequenceClassifier(lm.model(), labels.size(), padding, arena, 1);
            Candidate.Sizer sizer = new Candidate.Sizer(classifier, frequent(data.train(), padding));
            int size = candidate.most() == 0 ? 0 : sizer.largest(candidate, budget);
            Candidate.Start start = candidate.start(sizer, size);
            List<ParameterGroup> groups = new ArrayList<>(start.groups());
            groups.add(new ParameterGroup("^score[.]", HEAD_RATE / candidate.rate(), true));
            TrainConfig config = TrainConfig.builder()
                    .steps(steps)
                    .schedule(new Schedule.Cosine(candidate.rate(), steps / 10))
                    .groups(groups.toArray(ParameterGroup[]::new))
                    .logEvery(steps)
                    .build();
            Classification objective = new Classification(classifier);
            List<StepReport> reports = new ArrayList<>();
            try (Trainer trainer = new Trainer(start.trained(), new AdamW(), config)) {
                trainer.onStep(reports::add);
                trainer.fit(data.train().shuffled(BATCH, padding, 1), objective);
            }
            long parameters = Candidate.count(start.trained());
            Confusion confusion =
                    objective.evaluate(data.validation().batches(BATCH, padding).apply(0), labels);
            long bytes = stepBytes(
                    objective, longest(data.train().batches(BATCH, padding).apply(0)));
            return new Row(
                    candidate.name(),
                    size,
                    parameters,
                    (bytes + BYTES * parameters) / 1e6,
                    reports.getLast().tokensPerSecond(),
                    confusion.accuracy(),
                    data.validation().size());
        }
    }

    private static LabelledBatch longest(Iterator<LabelledBatch> batches) {
        List<LabelledBatch> all = new ArrayList<>();
        batches.forEachRemaining(all::add);
        return all.stream().max(Comparator.comparingInt(LabelledBatch::length)).orElseThrow();
    }

    private static long stepBytes(Classification objective, LabelledBatch batch) {
        try (Memory.Scope scope = Memory.scope()) {
            Tape.backward(objective.apply(batch).sum());
            return scope.bytes();
        }
    }

    /** The tokens of the texts, the most frequent first. */
    private static List<Integer> frequent(LabelledDataset texts, int padding) {
        Map<Integer, Integer> counts = new LinkedHashMap<>();
        texts.batches(1, padding).apply(0).forEachRemaining(text -> {
            for (int id : text.ids()) {
                counts.merge(id, 1, Integer::sum);
            }
        });
        return counts.entrySet().stream()
                .sorted(Map.Entry.<Integer, Integer>comparingByValue().reversed())
                .map(Map.Entry::getKey)
                .toList();
    }

    /** Two verdicts, each turned by its "not", and the thing whose verdict counts: neither the words nor their places tell. */
    static Path generate(Path file, int count) throws IOException {
        List<String> good = List.of("good", "fine", "great", "lovely"), bad = List.of("bad", "poor", "dull", "weak");
        List<String> things = List.of("film", "book", "song", "meal", "play", "trip");
        Rng rng = new Rng(7);
        List<String> lines = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            int[] order = IntStream.range(0, things.size()).toArray();
            rng.shuffle(order);
            int asked = rng.nextInt(VERDICTS);
            List<String> verdicts = new ArrayList<>();
            Map<String, Object> text = new LinkedHashMap<>();
            for (int k = 0; k < VERDICTS; k++) {
                boolean praised = rng.nextInt(2) == 1, turned = rng.nextInt(2) == 1;
                List<String> words = praised ? good : bad;
                verdicts.add(things.get(order[k]) + (turned ? " not " : " ") + words.get(rng.nextInt(words.size())));
                if (k == asked) {
                    text.put("label", praised == turned ? "bad" : "good");
                }
            }
            text.put("text", String.join(", ", verdicts) + ": " + things.get(order[asked]));
            lines.add(Json.line(text));
        }
        return Files.write(file, lines);
    }

    /** The methods by rising number of parameters, with two standard errors; the head alone is a line. */
    static void draw(List<Row> rows, Path file) throws IOException {
        CategoryChart chart = new CategoryChartBuilder()
                .width(1000)
                .height(560)
                .title("Accuracy on texts held out, with two standard errors")
                .xAxisTitle("method and its parameters, the fewest first; the line is the head alone")
                .yAxisTitle("accuracy, %")
                .build();
        chart.getStyler()
                .setDefaultSeriesRenderStyle(CategorySeries.CategorySeriesRenderStyle.Scatter)
                .setOverlapped(true)
                .setXAxisLabelRotation(60)
                .setLegendVisible(false)
                .setMarkerSize(9);
        List<Row> methods = rows.stream()
                .filter(r -> r.parameters > 0)
                .sorted(Comparator.comparingLong(Row::parameters))
                .toList();
        List<String> labels = methods.stream()
                .map(r -> String.format(Locale.ROOT, "%s, %,d", r.method, r.parameters))
                .toList();
        chart.addSeries(
                        "methods",
                        labels,
                        methods.stream().map(r -> 100 * r.accuracy).toList(),
                        methods.stream().map(r -> 200 * r.error()).toList())
                .setMarker(SeriesMarkers.CIRCLE);
        rows.stream()
                .filter(r -> r.parameters == 0)
                .forEach(head -> chart.addSeries(
                                head.method, labels, Collections.nCopies(labels.size(), 100 * head.accuracy))
                        .setChartCategorySeriesRenderStyle(CategorySeries.CategorySeriesRenderStyle.Line)
                        .setMarker(SeriesMarkers.NONE)
                        .setLineColor(Color.GRAY));
        BitmapEncoder.saveBitmap(chart, file.toString(), BitmapEncoder.BitmapFormat.PNG);
    }
}
