package anneal.io;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The checkpoints of one run: folders {@code checkpoint-STEP} under a root, of which the last few and the best are
 * kept.
 */
public final class CheckpointStore {
    private static final Pattern NAME = Pattern.compile("checkpoint-(0|[1-9][0-9]{0,17})");
    private static final Pattern LEFT = Pattern.compile("\\.(checkpoint-[0-9]+)\\.[0-9a-f]+\\.(tmp|old)");
    private static final Logger LOG = LoggerFactory.getLogger(CheckpointStore.class);

    /** Which metric is the better one. */
    public enum Best {
        /** None is: only the last ones are kept. */
        NONE,
        /** A loss. */
        LOWEST,
        /** An accuracy, a reward. */
        HIGHEST
    }

    /**
     * What is kept.
     *
     * @param last how many of the highest steps, at least 1
     * @param best which one is kept besides, by its metric
     */
    public record Keep(int last, Best best) {
        /** Everything. */
        public static final Keep ALL = new Keep(Integer.MAX_VALUE, Best.NONE);

        /** Checks the arguments. */
        public Keep {
            if (last < 1) {
                throw new IllegalArgumentException("Keep: last must be at least 1 but is " + last);
            }
        }
    }

    /** A checkpoint that is whole. */
    public record Entry(long step, OptionalDouble metric, Path folder) {}

    private final Path root;
    private final Keep keep;

    /** Touches nothing; the root is made by the first {@link #save}. */
    public CheckpointStore(Path root, Keep keep) {
        this.root = root;
        this.keep = keep;
    }

    /**
     * Saves the state after {@code step}, then deletes what the policy does not keep. The new one is always kept.
     *
     * @param metric what "best" is judged by; NaN is never the best
     * @throws CheckpointException if it cannot be saved; all others are then still there
     */
    public Entry save(long step, OptionalDouble metric, Checkpoint.Content content) {
        if (step < 0) {
            throw new IllegalArgumentException("CheckpointStore: step must not be negative but is " + step);
        }
        Path folder = root.resolve("checkpoint-" + step);
        tidy();
        Map<String, Object> facts = new LinkedHashMap<>();
        facts.put("step", step);
        metric.ifPresent(m -> facts.put("metric", m));
        Checkpoint.save(folder, facts, content);
        Entry saved = new Entry(step, metric, folder);
        prune(saved);
        return saved;
    }

    /** All whole checkpoints, lowest step first. Partial ones and other folders are passed over. */
    public List<Entry> list() {
        List<Entry> entries = new ArrayList<>();
        for (Path folder : folders()) {
            Matcher name = NAME.matcher(folder.getFileName().toString());
            if (name.matches()) {
                read(folder, Long.parseLong(name.group(1))).ifPresent(entries::add);
            }
        }
        entries.sort(Comparator.comparingLong(Entry::step));
        return entries;
    }

    /** The whole checkpoint with the highest step. */
    public Optional<Entry> latest() {
        return list().stream().reduce((a, b) -> b);
    }

    /** The whole checkpoint with the best metric, the first of equals; empty if none has one or none is better. */
    public Optional<Entry> best() {
        return best(list());
    }

    private Optional<Entry> best(List<Entry> entries) {
        Comparator<Entry> byMetric = Comparator.comparingDouble(e -> e.metric().getAsDouble());
        Stream<Entry> judged = entries.stream()
                .filter(e -> e.metric().isPresent() && !Double.isNaN(e.metric().getAsDouble()));
        return switch (keep.best) {
            case NONE -> Optional.empty();
            case LOWEST -> judged.min(byMetric);
            case HIGHEST -> judged.min(byMetric.reversed());
        };
    }

    private static Optional<Entry> read(Path folder, long step) {
        try {
            JsonObject facts = Checkpoint.open(folder).facts();
            if (facts.longInteger("step") != step) {
                throw facts.error("step", String.valueOf(step));
            }
            OptionalDouble metric =
                    facts.has("metric") ? OptionalDouble.of(facts.number("metric")) : OptionalDouble.empty();
            return Optional.of(new Entry(step, metric, folder));
        } catch (CheckpointException | IllegalArgumentException e) {
            LOG.warn("passed over: {}", e.getMessage());
            return Optional.empty();
        }
    }

    private List<Path> folders() {
        if (!Files.isDirectory(root)) {
            return List.of();
        }
        try (Stream<Path> all = Files.list(root)) {
            return all.filter(Files::isDirectory).sorted().toList();
        } catch (IOException e) {
            throw new UncheckedIOException(root + " cannot be listed: " + e.getMessage(), e);
        }
    }

    private void prune(Entry saved) {
        List<Entry> entries = list();
        Set<Entry> kept = new HashSet<>(Set.of(saved));
        best(entries).ifPresent(kept::add);
        kept.addAll(entries.subList(Math.max(0, entries.size() - keep.last), entries.size()));
        for (Entry entry : entries) {
            if (!kept.contains(entry)) {
                delete(entry.folder);
            }
        }
    }

    /** The manifest goes first: whatever is left after a crash is no checkpoint any more. */
    private static void delete(Path folder) {
        try {
            Files.deleteIfExists(folder.resolve(Checkpoint.MANIFEST));
            Folders.delete(folder);
        } catch (IOException e) {
            LOG.warn("{} could not be deleted: {}", folder, e.getMessage());
        }
    }

    /** What a crash left: half-written folders go; one that was being replaced gets its name back. */
    private void tidy() {
        for (Path folder : folders()) {
            Matcher left = LEFT.matcher(folder.getFileName().toString());
            if (!left.matches()) {
                continue;
            }
            Path name = root.resolve(left.group(1));
            try {
                if (left.group(2).equals("old") && !Files.exists(name)) {
                    Files.move(folder, name, StandardCopyOption.ATOMIC_MOVE);
                } else {
                    Folders.delete(folder);
                }
            } catch (IOException e) {
                LOG.warn("{} could not be tidied away: {}", folder, e.getMessage());
            }
        }
    }
}
