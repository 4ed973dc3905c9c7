package anneal.peft;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * The rank that each module of an {@link AdaLora} has: how the run has spent its budget. Printed as a table.
 *
 * @param modules in the order of the model
 * @param isFinal false while the run may still change its mind
 */
public record RankReport(List<Entry> modules, boolean isFinal) {
    /**
     * One module.
     *
     * @param path where it is in the model
     * @param rank triplets that are left
     * @param initial triplets that it started with
     */
    public record Entry(String path, int rank, int initial) {}

    public RankReport {
        modules = List.copyOf(modules);
    }

    /**
     * The ranks of these adapters.
     *
     * @throws IllegalArgumentException if they are of another method, which has no ranks to choose
     */
    public static RankReport of(Adapters adapters) {
        Tuning method = WholeTuning.method(adapters.tuning());
        if (!(method instanceof AdaLoraTuning tuning)) {
            throw new IllegalArgumentException("RankReport: needs adapters of AdaLora, these are of "
                    + adapters.method().getClass().getSimpleName());
        }
        List<Entry> entries = new ArrayList<>();
        tuning.left()
                .forEach((path, left) -> entries.add(
                        new Entry(path, (int) left.stream().filter(k -> k).count(), left.size())));
        return new RankReport(entries, tuning.isFinal());
    }

    /** Ranks of all modules together. */
    public int total() {
        return modules.stream().mapToInt(Entry::rank).sum();
    }

    @Override
    public String toString() {
        int width = modules.stream().mapToInt(e -> e.path.length()).max().orElse(6);
        String row = "%-" + Math.max(6, width) + "s %5s %5s%n";
        StringBuilder table =
                new StringBuilder(String.format(Locale.ROOT, row, "module", isFinal ? "rank" : "now", "of"));
        modules.forEach(e -> table.append(String.format(Locale.ROOT, row, e.path, e.rank, e.initial)));
        int initial = modules.stream().mapToInt(Entry::initial).sum();
        return table.append(String.format(Locale.ROOT, row, "all", total(), initial))
                .toString();
    }
}
