package anneal.examples;

import anneal.NextToken;
import anneal.Pretrained;
import anneal.nn.Linear;
import anneal.quant.InputNorms;
import anneal.quant.MaskedWeight;
import anneal.quant.Pruning;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
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
 * Sets more and more weights to zero, those with the smallest |w| or, by Wanda, the smallest |w| times input norm, then trains what is
 * left while the zeros stay: {@code PruneAndRecover MODEL TEXT HELD-OUT STEPS OUTPUT.png}.
 */
public final class PruneAndRecover {
    private static final double[] SPARSITIES = {0.2, 0.4, 0.5, 0.6, 0.7, 0.8};
    private static final double RATE = 1e-3;

    private PruneAndRecover() {}

    /**
     * Perplexities at one sparsity.
     *
     * @param recovered after Wanda and training
     * @param zeros part of the pruned layers' weights that are zero before training
     * @param zerosLeft and after it
     */
    record Row(double sparsity, double magnitude, double wanda, double recovered, double zeros, double zerosLeft) {}

    /** Prints the table and draws it. */
    public static void main(String[] args) throws IOException {
        Path model = Path.of(args[0]);
        Texts texts = new Texts(Path.of(args[1]), Path.of(args[2]));
        int steps = Integer.parseInt(args[3]);
        double before = texts.perplexity(model, (lm, forward) -> {});
        System.out.printf(
                Locale.ROOT,
                "not pruned: perplexity %.3f%npruned  magnitude      wanda  recovered  zeros left%n",
                before);
        List<Row> rows = new ArrayList<>();
        for (double sparsity : SPARSITIES) {
            Row r = measure(model, texts, sparsity, steps);
            System.out.printf(
                    Locale.ROOT,
                    "%4.0f %% %10.3f %10.3f %10.3f %7.2f %% %9.2f %%%n",
                    100 * r.sparsity,
                    r.magnitude,
                    r.wanda,
                    r.recovered,
                    100 * r.zeros,
                    100 * r.zerosLeft);
            rows.add(r);
        }
        draw(before, rows, Path.of(args[4]));
    }

    static Row measure(Path model, Texts texts, double sparsity, int steps) {
        double magnitude;
        try (Pretrained lm = Pretrained.load(model);
                Arena memory = Arena.ofShared()) {
            new Pruning(new Pruning.Choice.PerLayer(sparsity))
                    .magnitude(lm.model().root(), memory);
            magnitude = texts.perplexity(lm);
        }
        try (Pretrained lm = Pretrained.load(model).trainable();
                Arena memory = Arena.ofShared()) {
            Pruning pruning = new Pruning(new Pruning.Choice.PerRow(sparsity));
            try (Tape.Pause pause = Tape.pause()) {
                pruning.wanda(lm.model().root(), InputNorms.capture(lm.model().root(), texts.forward(lm)), memory);
            }
            double wanda = texts.perplexity(lm), zeros = zeros(lm);
            train(lm, texts, steps);
            return new Row(sparsity, magnitude, wanda, texts.perplexity(lm), zeros, zeros(lm));
        }
    }

    /** An ordinary run of all weights: where a mask is zero the gradient is zero too. */
    private static void train(Pretrained lm, Texts texts, int steps) {
        TrainConfig config = TrainConfig.builder()
                .steps(steps)
                .schedule(new Schedule.Cosine(RATE, steps / 10))
                .clipNorm(1)
                .build();
        try (Trainer trainer = new Trainer(lm.model().parameters(), new AdamW(), config)) {
            trainer.fit(texts.batches(lm), new NextToken(lm.model()));
        }
    }

    private static double zeros(Pretrained lm) {
        long zeros = 0, all = 0;
        for (Linear layer : lm.model().find(Linear.class).values()) {
            if (layer.weight() instanceof MaskedWeight w) {
                Tensor numbers = w.parameter().orElseThrow();
                for (long i = 0; i < numbers.size(); i++) {
                    zeros += numbers.get(i) == 0 ? 1 : 0;
                }
                all += numbers.size();
            }
        }
        return (double) zeros / all;
    }

    private static void draw(double before, List<Row> rows, Path file) throws IOException {
        XYChart chart = Charts.lines("Perplexity of a pruned model", "weights set to zero, %", "perplexity");
        chart.getStyler().setXAxisDecimalPattern("0").setYAxisDecimalPattern("0.0");
        List<Double> sparsities = rows.stream().map(r -> 100 * r.sparsity).toList();
        chart.addSeries(
                "magnitude", sparsities, rows.stream().map(Row::magnitude).toList());
        chart.addSeries("Wanda", sparsities, rows.stream().map(Row::wanda).toList());
        chart.addSeries(
                "Wanda, then trained",
                sparsities,
                rows.stream().map(Row::recovered).toList());
        chart.addSeries("not pruned", List.of(sparsities.getFirst(), sparsities.getLast()), List.of(before, before))
                .setMarker(SeriesMarkers.NONE);
        Charts.save(file, chart);
    }
}
