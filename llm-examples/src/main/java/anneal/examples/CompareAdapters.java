package anneal.examples;

import anneal.Classification;
import anneal.Pretrained;
import anneal.data.LabelledBatch;
import anneal.data.LabelledDataset;
import anneal.data.LabelledText;
import anneal.io.Json;
import anneal.model.SequenceClassifier;
import anneal.nn.Trainable;
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
import java.util.Comparator;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.knowm.xchart.AnnotationText;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.Styler;
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
    private static final int BATCH = 16;
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
     */
    record Row(String method, int size, long parameters, double megabytes, double tokensPerSecond, double accuracy) {
        @Override
        public String toString() {
            return String.format(
                    Locale.ROOT,
                    "| %s | %s | %,d | %,.0f | %,.0f | %.1f %% |",
                    method,
                    size == 0 ? "" : size,
                    parameters,
                    megabytes,
                    tokensPerSecond,
                    100 * accuracy);
        }
    }

    /** Prints the table; writes accuracy.png. */
    public static void main(String[] args) throws IOException {
        Path output = Files.createDirectories(Path.of(args[4]));
        Path data = args[1].equals("generated") ? generate(output.resolve("generated.jsonl"), 600) : Path.of(args[1]);
        long budget = Long.parseLong(args[2]);
        int steps = Integer.parseInt(args[3]);
        System.out.println("| method | size | parameters | MB a step | tokens/s | accuracy |");
        System.out.println("| --- | --- | --- | --- | --- | --- |");
        List<Row> rows = new ArrayList<>();
        for (Candidate c : Candidate.ALL) {
            try {
                rows.add(row(c, Path.of(args[0]), data, budget, steps));
                System.out.println(rows.getLast());
            } catch (IllegalArgumentException e) { // a model without biases has nothing that BitFit could train
                System.out.println("| " + c.name() + " | " + e.getMessage() + " |||||");
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
            Trainable trained = candidate.attach(sizer, size);
            TrainConfig config = TrainConfig.builder()
                    .steps(steps)
                    .schedule(new Schedule.Cosine(candidate.rate(), steps / 10))
                    .groups(new ParameterGroup("^score[.]", HEAD_RATE / candidate.rate(), true))
                    .logEvery(steps)
                    .build();
            Classification objective = new Classification(classifier);
            List<StepReport> reports = new ArrayList<>();
            try (Trainer trainer = new Trainer(trained, new AdamW(), config)) {
                trainer.onStep(reports::add);
                trainer.fit(data.train().shuffled(BATCH, padding, 1), objective);
            }
            long parameters = Candidate.count(trained);
            double accuracy = objective
                    .evaluate(data.validation().batches(BATCH, padding).apply(0), labels)
                    .accuracy();
            long held = stepBytes(
                    objective, longest(data.train().batches(BATCH, padding).apply(0)));
            return new Row(
                    candidate.name(),
                    size,
                    parameters,
                    (held + BYTES * parameters) / 1e6,
                    reports.getLast().tokensPerSecond(),
                    accuracy);
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

    /** Verdicts that turn with each "not": the last word alone does not tell. */
    static Path generate(Path file, int count) throws IOException {
        List<String> good = List.of("good", "fine", "great", "lovely"), bad = List.of("bad", "poor", "dull", "weak");
        List<String> things = List.of("film", "book", "song", "meal", "play", "trip");
        Rng rng = new Rng(7);
        List<String> lines = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            boolean praised = rng.nextInt(2) == 1, turned = rng.nextInt(2) == 1;
            List<String> words = praised ? good : bad;
            Map<String, Object> text = new LinkedHashMap<>();
            text.put(
                    "text",
                    "The " + things.get(rng.nextInt(things.size())) + (turned ? " was not " : " was ")
                            + words.get(rng.nextInt(words.size())) + ".");
            text.put("label", praised == turned ? "bad" : "good");
            lines.add(Json.line(text));
        }
        return Files.write(file, lines);
    }

    static void draw(List<Row> rows, Path file) throws IOException {
        XYChart chart = new XYChartBuilder()
                .width(900)
                .height(560)
                .title("Accuracy on texts held out, by parameters that are trained")
                .xAxisTitle("parameters besides the head")
                .yAxisTitle("accuracy, %")
                .build();
        chart.getStyler()
                .setDefaultSeriesRenderStyle(XYSeries.XYSeriesRenderStyle.Scatter)
                .setXAxisLogarithmic(true)
                .setLegendPosition(Styler.LegendPosition.OutsideE)
                .setMarkerSize(11);
        // a logarithm has no place for the head alone: it is a line through whole powers of ten
        double least = rows.stream()
                .mapToLong(Row::parameters)
                .filter(p -> p > 0)
                .min()
                .orElseThrow();
        double most = rows.stream().mapToLong(Row::parameters).max().orElseThrow();
        List<Double> ends =
                List.of(Math.pow(10, Math.floor(Math.log10(least))), Math.pow(10, Math.ceil(Math.log10(most))));
        for (int i = 0; i < rows.size(); i++) {
            Row row = rows.get(i);
            double y = 100 * row.accuracy;
            boolean line = row.parameters == 0;
            XYSeries series = line
                    ? chart.addSeries(row.method, ends, List.of(y, y))
                    : chart.addSeries(row.method, List.of(row.parameters), List.of(y));
            Color color = Color.getHSBColor((float) i / rows.size(), 0.9f, 0.75f);
            series.setMarkerColor(color).setLineColor(line ? Color.GRAY : color);
            if (line) {
                series.setXYSeriesRenderStyle(XYSeries.XYSeriesRenderStyle.Line).setMarker(SeriesMarkers.NONE);
            }
        }
        together(rows).forEach(names -> {
            Row first = names.getFirst();
            String label = String.join(", ", names.stream().map(Row::method).toList());
            chart.addAnnotation(new AnnotationText(label, first.parameters, 100 * first.accuracy - 1, false));
        });
        BitmapEncoder.saveBitmap(chart, file.toString(), BitmapEncoder.BitmapFormat.PNG);
    }

    /** Rows of which only the last can be seen, since their points are within a tenth in x and in half a percent in y. */
    private static List<List<Row>> together(List<Row> rows) {
        List<List<Row>> groups = new ArrayList<>();
        for (Row row : rows.stream().filter(r -> r.parameters > 0).toList()) {
            List<Row> group = groups.stream()
                    .filter(g -> Math.abs(g.getFirst().accuracy - row.accuracy) < 0.005
                            && Math.abs(Math.log((double) g.getFirst().parameters / row.parameters)) < 0.1)
                    .findFirst()
                    .orElseGet(() -> {
                        groups.add(new ArrayList<>());
                        return groups.getLast();
                    });
            group.add(row);
        }
        groups.removeIf(g -> g.size() == 1);
        return groups;
    }
}
