package anneal.examples;

import anneal.Pretrained;
import anneal.distill.DistillationObjective;
import anneal.distill.SoftTargets;
import anneal.distill.Student;
import anneal.model.Decoder;
import anneal.train.AdamW;
import anneal.train.Schedule;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.style.markers.SeriesMarkers;

/**
 * A student made of some of its teacher's layers, trained on the same text with and without the teacher: {@code DistilStudent TEACHER
 * TEXT HELD-OUT LAYERS STEPS OUTPUT}.
 */
public final class DistilStudent {
    private static final int MEASUREMENTS = 10;
    private static final double RATE = 1e-3;

    private DistilStudent() {}

    /** Perplexity on the held-out text after some steps. */
    record Point(int step, double perplexity) {}

    /** Prints perplexities, writes the student that had a teacher as a folder, and perplexity.png beside it. */
    public static void main(String[] args) throws IOException {
        Texts texts = new Texts(Path.of(args[1]), Path.of(args[2]));
        int layers = Integer.parseInt(args[3]), steps = Integer.parseInt(args[4]);
        Path output = Path.of(args[5]);
        try (Pretrained teacher = Pretrained.load(Path.of(args[0]))) {
            double best = texts.perplexity(teacher);
            System.out.printf(
                    Locale.ROOT,
                    "teacher, %d layers: perplexity %.3f%n",
                    teacher.model().config().layers(),
                    best);
            List<Point> alone = train(teacher, layers, texts, steps, false, null);
            List<Point> taught = train(teacher, layers, texts, steps, true, output.resolve("student"));
            System.out.println("  step    labels only  with teacher");
            for (int i = 0; i < alone.size(); i++) {
                System.out.printf(
                        Locale.ROOT,
                        "%6d %14.3f %13.3f%n",
                        alone.get(i).step,
                        alone.get(i).perplexity,
                        taught.get(i).perplexity);
            }
            draw(best, alone, taught, output.resolve("perplexity.png"));
        }
    }

    /** Trains a student, and saves it if a folder is given. */
    static List<Point> train(Pretrained teacher, int layers, Texts texts, int steps, boolean taught, Path folder) {
        Arena memory = Arena.ofShared();
        int[] kept = Student.spread(teacher.model().config().layers(), layers);
        Decoder student = Student.ofLayers(teacher.model(), kept, memory);
        try (Pretrained lm = teacher.with(student, memory)) {
            DistillationObjective.Builder losses = DistillationObjective.of(student);
            DistillationObjective objective = taught
                    ? losses.teacher(teacher.model())
                            .labels(0.1)
                            .soft(SoftTargets.forward(2), 0.9)
                            .build()
                    : losses.labels(1).build();
            List<Point> points = new ArrayList<>();
            points.add(new Point(0, texts.perplexity(lm)));
            TrainConfig config = TrainConfig.builder()
                    .steps(steps)
                    .schedule(new Schedule.Cosine(RATE, steps / 10))
                    .clipNorm(1)
                    .logEvery(Math.max(1, steps / MEASUREMENTS))
                    .build();
            try (Trainer trainer = new Trainer(student.parameters(), new AdamW(), config)) {
                trainer.onStep(report -> points.add(new Point((int) report.step(), texts.perplexity(lm))));
                trainer.fit(texts.batches(lm), objective);
            }
            if (folder != null) {
                lm.save(folder);
            }
            return points;
        }
    }

    private static void draw(double best, List<Point> alone, List<Point> taught, Path file) throws IOException {
        XYChart chart = Charts.lines("A student with and without its teacher", "step", "perplexity, held-out text");
        chart.getStyler().setXAxisDecimalPattern("0").setYAxisDecimalPattern("0.0");
        add(chart, "labels only", alone);
        add(chart, "with teacher", taught);
        chart.addSeries("the teacher", List.of(0, alone.getLast().step), List.of(best, best))
                .setMarker(SeriesMarkers.NONE);
        Charts.save(file, chart);
    }

    private static void add(XYChart chart, String name, List<Point> points) {
        chart.addSeries(
                name,
                points.stream().map(Point::step).toList(),
                points.stream().map(Point::perplexity).toList());
    }
}
