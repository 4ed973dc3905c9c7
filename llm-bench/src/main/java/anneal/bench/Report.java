package anneal.bench;

import anneal.kernels.Parallel;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Times a piece of work and prints one JSON line: median, minimum, maximum, peak resident memory. */
final class Report {
    private static final ObjectMapper JSON = new ObjectMapper();
    private final PrintWriter out;
    private final double budgetSeconds;

    Report(PrintWriter out, double budgetSeconds) {
        this.out = out;
        this.budgetSeconds = budgetSeconds;
    }

    /** How often to run a case. */
    record Runs(int warm, int timed) {}

    /** Runs the work and prints {@code perRun} units per second. */
    void rate(String name, String unit, double perRun, Runs runs, Runnable work) {
        List<Double> values = new ArrayList<>();
        double warmEnd = seconds() + budgetSeconds / 2;
        for (int i = 0; i < runs.warm && (i < 2 || seconds() < warmEnd); i++) {
            work.run();
        }
        double end = seconds() + budgetSeconds;
        while (values.size() < runs.timed && (values.size() < Math.min(3, runs.timed) || seconds() < end)) {
            double start = seconds();
            work.run();
            values.add(perRun / (seconds() - start));
        }
        print(name, unit, values);
    }

    /** Prints one case from the rates of its runs. */
    void print(String name, String unit, List<Double> rates) {
        List<Double> values = rates.stream().sorted().toList();
        ObjectNode line = JSON.createObjectNode()
                .put("case", name)
                .put("unit", unit)
                .put("median", round(median(values)))
                .put("min", round(values.getFirst()))
                .put("max", round(values.getLast()))
                .put("n", values.size())
                .put("peak_rss_mb", peakMegabytes())
                .put("threads", Parallel.threads());
        out.println(line);
        out.flush();
    }

    private static double seconds() {
        return System.nanoTime() * 1e-9;
    }

    private static double median(List<Double> sorted) {
        int n = sorted.size();
        return (sorted.get((n - 1) / 2) + sorted.get(n / 2)) / 2;
    }

    private static double round(double x) {
        return Math.round(x * 1000) / 1000.0;
    }

    /** Highest resident memory of this process so far, from the operating system; -1 where it does not tell. */
    static long peakMegabytes() {
        Path status = Path.of("/proc/self/status");
        if (!Files.isReadable(status)) {
            return -1;
        }
        try (var lines = Files.lines(status)) {
            return lines.filter(l -> l.startsWith("VmHWM:"))
                    .mapToLong(l -> Long.parseLong(l.replaceAll("[^0-9]", "")) / 1024)
                    .findFirst()
                    .orElse(-1);
        } catch (IOException e) {
            return -1;
        }
    }
}
