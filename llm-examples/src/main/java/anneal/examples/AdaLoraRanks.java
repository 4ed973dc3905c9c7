package anneal.examples;

import anneal.NextToken;
import anneal.Pretrained;
import anneal.data.Batches;
import anneal.data.Jsonl;
import anneal.peft.AdaLora;
import anneal.peft.Adapters;
import anneal.peft.RankReport;
import anneal.train.AdamW;
import anneal.train.Schedule;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import java.awt.Color;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.imageio.ImageIO;
import org.knowm.xchart.HeatMapChart;
import org.knowm.xchart.HeatMapChartBuilder;

/**
 * Fine-tunes a model with AdaLoRA, prints the rank that each module ended with and draws it: {@code AdaLoraRanks MODEL DATA STEPS
 * OUTPUT}.
 */
public final class AdaLoraRanks {
    /** The number of a block in a path, as in model.layers.3.self_attn.q_proj. */
    private static final Pattern BLOCK = Pattern.compile(".*?\\.(\\d+)\\.(.*)");

    private AdaLoraRanks() {}

    /** Writes the adapter in PEFT's files, and ranks.png beside them. */
    public static void main(String[] args) throws IOException {
        Path output = Path.of(args[3]);
        RankReport report = tune(Path.of(args[0]), Path.of(args[1]), Integer.parseInt(args[2]), output);
        System.out.print(report);
        draw(report, output.resolve("ranks.png"));
    }

    static RankReport tune(Path model, Path file, int steps, Path output) {
        try (Pretrained lm = Pretrained.load(model)) {
            Adapters adapters =
                    AdaLora.rank(8).on("all-linear").attach(lm.model().root());
            Batches data = Jsonl.chats(file).encode(lm.chat()).pad().batches(4).shuffled(42);
            TrainConfig config = TrainConfig.builder()
                    .steps(steps)
                    .schedule(new Schedule.Cosine(AdaLora.RATE, steps / 20))
                    .build();
            try (Trainer trainer = new Trainer(adapters, new AdamW(), config)) {
                trainer.onStep(System.out::println);
                trainer.fit(data, new NextToken(lm.model()));
            }
            adapters.save(output);
            return RankReport.of(adapters);
        }
    }

    /** A field for each module: blocks from left to right, kinds of modules from bottom to top. */
    static void draw(RankReport report, Path file) throws IOException {
        Map<Integer, Integer> blocks = new TreeMap<>();
        List<String> kinds = new ArrayList<>();
        for (RankReport.Entry e : report.modules()) {
            blocks.putIfAbsent(block(e.path()), 0);
            if (!kinds.contains(kind(e.path()))) {
                kinds.add(kind(e.path()));
            }
        }
        List<Integer> columns = List.copyOf(blocks.keySet());
        List<Number[]> fields = new ArrayList<>();
        for (RankReport.Entry e : report.modules()) {
            fields.add(new Number[] {columns.indexOf(block(e.path())), kinds.indexOf(kind(e.path())), e.rank()});
        }
        HeatMapChart chart = new HeatMapChartBuilder()
                .width(260 + 28 * columns.size())
                .height(110 + 26 * kinds.size())
                .title("Ranks that AdaLoRA left, " + report.total() + " in all")
                .xAxisTitle("block")
                .build();
        chart.getStyler().setShowValue(true).setHeatMapValueDecimalPattern("0").setMin(0);
        chart.getStyler().setPlotContentSize(1);
        chart.getStyler().setRangeColors(new Color[] {Color.WHITE, Color.GRAY});
        chart.getStyler().setChartBackgroundColor(Color.WHITE);
        chart.addSeries("rank", columns, kinds, fields);
        chart.getStyler().setLegendVisible(false);
        write(chart, file);
    }

    /** In shades of grey, a third of the bytes. */
    private static void write(HeatMapChart chart, Path file) throws IOException {
        BufferedImage grey = new BufferedImage(chart.getWidth(), chart.getHeight(), BufferedImage.TYPE_BYTE_GRAY);
        chart.paint(grey.createGraphics(), chart.getWidth(), chart.getHeight());
        ImageIO.write(grey, "png", file.toFile());
    }

    /** -1 for a module outside the blocks. */
    private static int block(String path) {
        Matcher m = BLOCK.matcher(path);
        return m.matches() ? Integer.parseInt(m.group(1)) : -1;
    }

    private static String kind(String path) {
        Matcher m = BLOCK.matcher(path);
        return m.matches() ? m.group(2) : path;
    }
}
