package anneal;

import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * How often which label was taken for which, and what follows from it.
 *
 * <pre>
 * precision = right / said      recall = right / true      F1 = 2 right / (said + true)
 * </pre>
 *
 * <p>A ratio of nothing to nothing is 0, as in scikit-learn. The macro F1 is the mean over all labels of the list; scikit-learn without
 * its argument {@code labels} leaves out those that are neither true nor said anywhere.
 *
 * @param labels names, C of them
 * @param counts [true label][said label]
 */
public record Confusion(List<String> labels, long[][] counts) {
    public Confusion {
        labels = List.copyOf(labels);
        int n = labels.size();
        if (counts.length != n || Arrays.stream(counts).anyMatch(row -> row.length != n)) {
            throw new IllegalArgumentException("Confusion: " + n + " labels need counts [" + n + ", " + n + "]");
        }
    }

    /** Number of texts. */
    public long count() {
        return Arrays.stream(counts).flatMapToLong(Arrays::stream).sum();
    }

    /** Part of the texts whose label was said. */
    public double accuracy() {
        return ratio(
                IntStream.range(0, counts.length).mapToLong(c -> counts[c][c]).sum(), count());
    }

    /** Part of the texts said to have this label that have it. */
    public double precision(int label) {
        return ratio(counts[label][label], said(label));
    }

    /** Part of the texts with this label that are said to have it. */
    public double recall(int label) {
        return ratio(counts[label][label], truly(label));
    }

    /** The harmonic mean of precision and recall. */
    public double f1(int label) {
        return ratio(2 * counts[label][label], said(label) + truly(label));
    }

    /** The mean of {@link #f1} over the labels: rare ones count as much as frequent ones. */
    public double macroF1() {
        return IntStream.range(0, counts.length).mapToDouble(this::f1).average().orElse(0);
    }

    private long said(int label) {
        return Arrays.stream(counts).mapToLong(row -> row[label]).sum();
    }

    private long truly(int label) {
        return Arrays.stream(counts[label]).sum();
    }

    private static double ratio(long part, long all) {
        return all == 0 ? 0 : (double) part / all;
    }

    /** A table: a row for each true label, a column for each that was said. */
    @Override
    public String toString() {
        int width = Math.max(9, labels.stream().mapToInt(String::length).max().orElse(0) + 1);
        String name = "%-" + width + "s", number = "%" + width + "d", head = "%" + width + "s";
        StringBuilder text = new StringBuilder();
        text.append(String.format("accuracy %.4f, macro F1 %.4f, %d texts%n", accuracy(), macroF1(), count()));
        text.append(String.format(name, "true"));
        labels.forEach(label -> text.append(String.format(head, label)));
        for (String column : List.of("precision", "recall", "F1")) {
            text.append(String.format("%10s", column));
        }
        for (int c = 0; c < counts.length; c++) {
            text.append(System.lineSeparator()).append(String.format(name, labels.get(c)));
            Arrays.stream(counts[c]).forEach(n -> text.append(String.format(number, n)));
            text.append(String.format("%10.3f%10.3f%10.3f", precision(c), recall(c), f1(c)));
        }
        return text.toString();
    }
}
