package anneal.examples;

import anneal.NextToken;
import anneal.Pretrained;
import anneal.data.Batch;
import anneal.data.Batches;
import anneal.data.Jsonl;
import anneal.nn.Trainable;
import anneal.peft.Adapters;
import anneal.peft.Ewc;
import anneal.peft.Fisher;
import anneal.peft.Lora;
import anneal.peft.OrthogonalLora;
import anneal.peft.Osf;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Tape;
import anneal.train.AdamW;
import anneal.train.Loss;
import anneal.train.Schedule;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.CategoryChart;
import org.knowm.xchart.CategoryChartBuilder;

/**
 * Learns one text and then another, and tells how much of the first is forgotten: plainly, with EWC, with O-LoRA and with OSF.
 * {@code LearnTwoTasks MODEL FIRST SECOND STEPS PICTURE}.
 */
public final class LearnTwoTasks {
    private static final int LENGTH = 64, BATCH = 2, EXAMPLES = 24;

    /** Batches that a loss is taken of; training sees them too, as it sees all of a text. */
    private static final int MEASURED = 8;

    /** How the second task is learnt. */
    enum Way {
        plain,
        ewc,
        olora,
        osf
    }

    /** Mean losses: of the first text after it was learnt and after the second one was, and of the second text at the end. */
    record Result(Way way, double learnt, double kept, double second) {}

    private LearnTwoTasks() {}

    /** Prints a row for each way and draws what was forgotten. */
    public static void main(String[] args) throws IOException {
        List<Result> results = new ArrayList<>();
        System.out.println("way     first, learnt   first, in the end   second");
        for (Way way : Way.values()) {
            Result r = run(way, Path.of(args[0]), Path.of(args[1]), Path.of(args[2]), Integer.parseInt(args[3]));
            System.out.printf(Locale.ROOT, "%-7s %13.4f %19.4f %8.4f%n", r.way, r.learnt, r.kept, r.second);
            results.add(r);
        }
        draw(results, Path.of(args[4]));
    }

    static Result run(Way way, Path model, Path firstText, Path secondText, int steps) {
        try (Pretrained lm = Pretrained.load(model)) {
            Batches first = batches(lm, firstText), second = batches(lm, secondText);
            Adapters adapters = way == Way.osf
                    ? Osf.part(0.9).on("all-linear").attach(lm.model().root())
                    : Lora.rank(8).on("all-linear").attach(lm.model().root());
            train(lm, adapters, first, steps);
            double learnt = loss(lm, first);
            Trainable next = switch (way) {
                case plain -> adapters;
                case ewc -> held(lm, adapters, examples(first, EXAMPLES));
                case olora -> apart(lm, adapters);
                case osf -> again(lm, adapters);
            };
            train(lm, next, second, steps);
            return new Result(way, learnt, loss(lm, first), loss(lm, second));
        }
    }

    /** The same parameters, held where the first task needs them. */
    private static Trainable held(Pretrained lm, Adapters adapters, List<Batch> examples) {
        NextToken objective = new NextToken(lm.model());
        Fisher task = Fisher.of(adapters, examples, example -> {
            Loss loss = objective.apply(example);
            return Ops.scale(loss.sum(), (float) (1 / loss.count()));
        });
        return new Ewc(adapters, task, 1e5);
    }

    /** A LoRA of its own beside the first one, which becomes part of the model. */
    private static Trainable apart(Pretrained lm, Adapters first) {
        first.merge();
        Adapters second = Lora.rank(8).on("all-linear").attach(lm.model().root(), 1);
        return new OrthogonalLora(second, List.of(first.parameters()), 0.5, 0);
    }

    /** The matrices as they are now, decomposed again. */
    private static Trainable again(Pretrained lm, Adapters first) {
        first.merge();
        return Osf.part(0.9).on("all-linear").attach(lm.model().root());
    }

    private static Batches batches(Pretrained lm, Path text) {
        return Jsonl.read(text)
                .encode(lm.tokenizer())
                .wrap(LENGTH)
                .batches(BATCH)
                .shuffled(42);
    }

    private static List<Batch> examples(Batches batches, int count) {
        List<Batch> some = new ArrayList<>();
        Iterator<Batch> all = batches.apply(0);
        while (some.size() < count && all.hasNext()) {
            some.add(all.next());
        }
        return some;
    }

    private static void train(Pretrained lm, Trainable trained, Batches data, int steps) {
        TrainConfig config = TrainConfig.builder()
                .steps(steps)
                .schedule(new Schedule.Cosine(1e-3, steps / 10))
                .clipNorm(1)
                .build();
        try (Trainer trainer = new Trainer(trained, new AdamW(), config)) {
            trainer.fit(data, new NextToken(lm.model()));
        }
    }

    private static double loss(Pretrained lm, Batches text) {
        double sum = 0, count = 0;
        NextToken objective = new NextToken(lm.model());
        for (Batch batch : examples(text, MEASURED)) {
            try (var _ = Memory.scope();
                    var _ = Tape.pause()) {
                Loss loss = objective.apply(batch);
                sum += loss.sum().item();
                count += loss.count();
            }
        }
        return sum / count;
    }

    static void draw(List<Result> results, Path file) throws IOException {
        List<String> names = results.stream().map(r -> r.way.name()).toList();
        CategoryChart chart = new CategoryChartBuilder()
                .width(640)
                .height(400)
                .title("What the second text makes the first one's loss rise by")
                .xAxisTitle("how the second text is learnt")
                .yAxisTitle("nll a token")
                .build();
        chart.getStyler().setLegendVisible(false);
        chart.addSeries(
                "forgotten", names, results.stream().map(r -> r.kept - r.learnt).toList());
        BitmapEncoder.saveBitmap(chart, file.toString(), BitmapEncoder.BitmapFormat.PNG);
    }
}
