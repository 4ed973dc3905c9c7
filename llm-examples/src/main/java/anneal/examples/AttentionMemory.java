package anneal.examples;

import anneal.kernels.Attention;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Shape;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.style.Styler;

/**
 * Measures the memory of one layer of attention, forward and backward, against the length of the sequence, tiled and with the
 * matrix of scores, and draws it: {@code AttentionMemory LONGEST OUTPUT.png}.
 */
public final class AttentionMemory {
    private static final int HEADS = 9;
    private static final int HEAD_DIM = 64;

    private AttentionMemory() {}

    /** Megabytes at one length, inputs not counted. */
    record Row(int length, double tiled, double plain) {}

    /** Prints the table and writes the picture. */
    public static void main(String[] args) throws IOException {
        // Checked memory allocates every tensor by itself: exact bytes instead of whole slabs. Read when Memory is
        // loaded.
        System.setProperty("anneal.memory.check", "true");
        List<Row> rows = measure(Integer.parseInt(args[0]));
        System.out.println("T\ttiled MB\tplain MB");
        rows.forEach(r -> System.out.printf("%d\t%.1f\t%.1f%n", r.length, r.tiled, r.plain));
        draw(rows, Path.of(args[1]));
    }

    static List<Row> measure(int longest) {
        List<Row> rows = new ArrayList<>();
        for (int t = 512; t <= longest; t += 512) {
            Attention causal = Attention.causal(1, t, HEADS, HEADS, HEAD_DIM);
            rows.add(new Row(
                    t,
                    megabytes(t, (q, k, v) -> Ops.attention(q, k, v, causal)),
                    megabytes(t, AttentionMemory::plain)));
        }
        return rows;
    }

    private interface Layer {
        Tensor apply(Tensor q, Tensor k, Tensor v);
    }

    /** What a forward and a backward pass hold at once. */
    private static double megabytes(int t, Layer layer) {
        try (Arena arena = Arena.ofShared();
                Memory.Scope scope = Memory.scope()) {
            Tensor[] qkv = new Tensor[3];
            for (int i = 0; i < 3; i++) {
                qkv[i] = Tensor.allocate(arena, Shape.of(t, HEADS * HEAD_DIM)).trainable(true);
            }
            Tape.backward(Ops.sum(layer.apply(qkv[0], qkv[1], qkv[2])));
            return scope.bytes() / 1e6;
        }
    }

    /** softmax(q kT / sqrt(K)) v head by head, every matrix kept for the backward pass; without the mask, which changes no size. */
    private static Tensor plain(Tensor q, Tensor k, Tensor v) {
        Tensor sum = null;
        for (int h = 0; h < HEADS; h++) {
            Tensor scores = Ops.matmulT(head(q, h), head(k, h));
            Tensor p = Ops.softmax(Ops.scale(scores, (float) (1 / Math.sqrt(HEAD_DIM))));
            Tensor o = Ops.matmul(p, head(v, h));
            sum = sum == null ? o : Ops.add(sum, o);
        }
        return sum;
    }

    private static Tensor head(Tensor x, int h) {
        return Ops.columns(x, h * HEAD_DIM, HEAD_DIM);
    }

    static void draw(List<Row> rows, Path file) throws IOException {
        XYChart chart = new XYChartBuilder()
                .width(800)
                .height(480)
                .title("Memory of attention, forward and backward, " + HEADS + " heads of " + HEAD_DIM)
                .xAxisTitle("sequence length T")
                .yAxisTitle("MB")
                .build();
        chart.getStyler().setLegendPosition(Styler.LegendPosition.InsideNW).setMarkerSize(6);
        List<Integer> lengths = rows.stream().map(Row::length).toList();
        chart.addSeries("tiled", lengths, rows.stream().map(Row::tiled).toList());
        chart.addSeries(
                "with the matrix of scores",
                lengths,
                rows.stream().map(Row::plain).toList());
        BitmapEncoder.saveBitmap(chart, file.toString(), BitmapEncoder.BitmapFormat.PNG);
    }
}
