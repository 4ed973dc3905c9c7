package anneal.examples;

import anneal.NextToken;
import anneal.Pretrained;
import anneal.peft.Adapters;
import anneal.peft.Bottleneck;
import anneal.peft.Lora;
import anneal.peft.LoraInit;
import anneal.peft.LoraPlus;
import anneal.peft.Method;
import anneal.peft.PTuning;
import anneal.peft.PrefixTuning;
import anneal.peft.PromptTuning;
import anneal.train.AdamW;
import anneal.train.ParameterGroup;
import anneal.train.Schedule;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import org.knowm.xchart.XYChart;

/**
 * How the loss of a held-out text falls while a frozen model learns another one, with the methods of a page side by side:
 * {@code TuningCurves MODEL TEXT HELD-OUT STEPS OUTPUT RATE RATE..}.
 *
 * <p>Each method is trained at all rates and shown at the one with the lowest loss in the end: those that the methods' classes name are
 * for large models and long runs, a small model bears more. All see the same text, in windows as long as the model's context has room
 * beside their virtual tokens. PiSSA needs ND4J on the class path.
 */
public final class TuningCurves {
    private static final int MEASUREMENTS = 10, TOKENS = 8;

    /** The pages. Bottlenecks behind one of two sub-layers are twice as wide, so that all have as many parameters. */
    static final List<Page> PAGES = List.of(
            new Page(
                    "lora",
                    "LoRA and its variants",
                    new Way("LoRA", lora().build()),
                    new Way("rsLoRA", lora().rsLora().build()),
                    new Way("DoRA", lora().dora().build()),
                    new Way("PiSSA", lora().init(new LoraInit.Pissa()).build()),
                    new Way("LoRA+", lora().build(), new LoraPlus(16, 1))),
            new Page(
                    "prompt-tuning",
                    "Virtual tokens",
                    new Way("prefix", PrefixTuning.tokens(TOKENS).build()),
                    new Way(
                            "prefix, projected",
                            PrefixTuning.tokens(TOKENS).projection(64).build()),
                    new Way("prompt", PromptTuning.tokens(TOKENS).build()),
                    new Way("P-tuning, MLP", PTuning.tokens(TOKENS).build()),
                    new Way(
                            "P-tuning, LSTM",
                            PTuning.tokens(TOKENS).encoder(PTuning.Encoder.LSTM).build())),
            new Page(
                    "bottleneck-adapters",
                    "Bottleneck adapters",
                    new Way("Houlsby", Bottleneck.houlsby().reduction(16).build()),
                    new Way("Pfeiffer", Bottleneck.pfeiffer().reduction(8).build()),
                    new Way("parallel", Bottleneck.parallel().reduction(8).build())));

    private TuningCurves() {}

    /** One picture. */
    record Page(String name, String title, List<Way> ways) {
        Page(String name, String title, Way... ways) {
            this(name, title, List.of(ways));
        }
    }

    /**
     * A method.
     *
     * @param plus rates of its factors; null = one rate for all
     */
    record Way(String name, Method method, LoraPlus plus) {
        Way(String name, Method method) {
            this(name, method, null);
        }

        private ParameterGroup[] groups(Adapters adapters) {
            return plus == null
                    ? new ParameterGroup[0]
                    : TuningCurves.groups(plus, adapters).toArray(ParameterGroup[]::new);
        }
    }

    /** LoRA+'s rates in the trainer's words. */
    static List<ParameterGroup> groups(LoraPlus plus, Adapters adapters) {
        return plus.groups(adapters).stream()
                .map(g -> new ParameterGroup(g.pattern(), g.rateFactor(), g.decay()))
                .toList();
    }

    /**
     * A run.
     *
     * @param losses nll a token of the held-out text after each of the steps, the first of them 0
     */
    record Curve(String name, double rate, long parameters, List<Integer> steps, List<Double> losses) {
        /** As a row of the table. */
        @Override
        public String toString() {
            return String.format(
                    Locale.ROOT,
                    "| %s | %s | %,d | %.3f | %.3f |",
                    name,
                    rate,
                    parameters,
                    losses.getFirst(),
                    losses.getLast());
        }
    }

    /** Prints a table for each page and draws it. */
    public static void main(String[] args) throws IOException {
        Path model = Path.of(args[0]), output = Files.createDirectories(Path.of(args[4]));
        Texts texts = new Texts(Path.of(args[1]), Path.of(args[2]));
        int steps = Integer.parseInt(args[3]);
        List<Double> rates = Arrays.stream(args).skip(5).map(Double::valueOf).toList();
        for (Page page : PAGES) {
            System.out.println("| method | rate | parameters | first loss | last loss |");
            System.out.println("| --- | --- | --- | --- | --- |");
            List<Curve> curves = new ArrayList<>();
            for (Way way : page.ways) {
                curves.add(best(model, way, rates, texts, steps));
                System.out.println(curves.getLast());
            }
            draw(page.title, curves, output.resolve(page.name + ".png"));
        }
    }

    static Curve best(Path model, Way way, List<Double> rates, Texts texts, int steps) {
        return rates.stream()
                .map(rate -> train(model, way, rate, texts, steps))
                .min(Comparator.comparingDouble(curve -> curve.losses.getLast()))
                .orElseThrow(() -> new IllegalArgumentException("TuningCurves: name at least one learning rate"));
    }

    static Curve train(Path model, Way way, double rate, Texts texts, int steps) {
        try (Pretrained lm = Pretrained.load(model)) {
            Adapters adapters = way.method.attach(lm.model().root());
            Curve curve = new Curve(way.name, rate, Candidate.count(adapters), new ArrayList<>(), new ArrayList<>());
            curve.steps.add(0);
            curve.losses.add(loss(lm, texts));
            TrainConfig config = TrainConfig.builder()
                    .steps(steps)
                    .schedule(new Schedule.Cosine(rate, steps / 10))
                    .groups(way.groups(adapters))
                    .clipNorm(1)
                    .logEvery(Math.max(1, steps / MEASUREMENTS))
                    .build();
            try (Trainer trainer = new Trainer(adapters, new AdamW(), config)) {
                trainer.onStep(report -> {
                    curve.steps.add((int) report.step());
                    curve.losses.add(loss(lm, texts));
                });
                trainer.fit(texts.batches(lm), new NextToken(lm.model()));
            }
            return curve;
        }
    }

    private static double loss(Pretrained lm, Texts texts) {
        return Math.log(texts.perplexity(lm));
    }

    private static Lora.Builder lora() {
        return Lora.rank(8).alpha(8).on("all-linear");
    }

    private static void draw(String title, List<Curve> curves, Path file) throws IOException {
        XYChart chart = Charts.lines(title, "step", "nll a token, held-out text");
        chart.getStyler().setXAxisDecimalPattern("0").setYAxisDecimalPattern("0.00");
        curves.forEach(c -> chart.addSeries(c.name, c.steps, c.losses));
        Charts.save(file, chart);
    }
}
