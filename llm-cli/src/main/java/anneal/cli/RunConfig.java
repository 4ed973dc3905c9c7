package anneal.cli;

import anneal.io.AtomicFile;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.dataformat.yaml.YAMLFactory;
import com.fasterxml.jackson.dataformat.yaml.YAMLGenerator;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import picocli.CommandLine.Model.CommandSpec;

/** config.yaml of a run folder: the flags that the run was made with, and what may change of them when it goes on. */
final class RunConfig {
    static final String NAME = "config.yaml";

    /** Says when and where something is written, or how fast: no number of the run depends on it. */
    private static final Set<String> FREE = Set.of(
            "output",
            "save-every",
            "keep-last",
            "steps-per-eval",
            "steps-per-report",
            "threads",
            "optimizer-state",
            "grad-checkpoint",
            "verbose");

    /** Another value makes another run from here on, which can be meant. */
    private static final Set<String> TOLD = Set.of(
            "iters",
            "epochs",
            "learning-rate",
            "lr-scheduler",
            "warmup",
            "max-grad-norm",
            "grad-accumulation",
            "compute");

    /** Name a file whose content belongs to the run: a copy is kept beside config.yaml. */
    private static final Set<String> CONTENTS = Set.of("adapter-config");

    private RunConfig() {}

    /** Writes all options of a command with the values in force: the file that --config reads. */
    static void write(Path dir, CommandSpec command) {
        YAMLFactory yaml = new YAMLFactory()
                .disable(YAMLGenerator.Feature.WRITE_DOC_START_MARKER)
                .enable(YAMLGenerator.Feature.MINIMIZE_QUOTES);
        Path file = dir.resolve(NAME);
        Map<String, Object> values = values(command);
        try {
            AtomicFile.write(file, new ObjectMapper(yaml).writeValueAsBytes(values));
            for (String key : CONTENTS) {
                if (values.get(key) instanceof String given) {
                    AtomicFile.write(copy(dir, key), Files.readAllBytes(Path.of(given)));
                }
            }
        } catch (IOException e) {
            throw new UncheckedIOException(file.toString(), e);
        }
    }

    private static Path copy(Path dir, String key) {
        return dir.resolve(key + ".json");
    }

    private static Map<String, Object> values(CommandSpec command) {
        Map<String, Object> values = new TreeMap<>();
        command.options().stream()
                .filter(o -> !o.usageHelp() && !o.versionHelp() && o.getValue() != null)
                .filter(o ->
                        !o.longestName().equals("--config") && !o.longestName().equals("--resume"))
                .forEach(o -> values.put(o.longestName().replaceFirst("^-+", ""), plain(o.getValue())));
        return values;
    }

    private static Object plain(Object value) {
        return value instanceof Number || value instanceof Boolean ? value : value.toString();
    }

    /**
     * Compares the flags of a run that goes on with those it was made with. Without a config.yaml there is nothing to compare with.
     *
     * @return one sentence for each change that can be meant
     * @throws IllegalArgumentException if what cannot change did: the model, the shape of the adapter, the batches, the loss
     */
    static List<String> changes(Path dir, CommandSpec command) {
        Path file = dir.resolve(NAME);
        if (!Files.exists(file)) {
            return List.of();
        }
        Map<String, String> then = YamlDefaults.read(file, command.commandLine());
        Map<String, Object> now = values(command);
        TreeSet<String> keys = new TreeSet<>(then.keySet());
        keys.addAll(now.keySet());
        keys.removeAll(FREE);
        List<String> changes = new ArrayList<>();
        for (String key : keys) {
            String was = then.get(key), is = now.containsKey(key) ? now.get(key).toString() : null;
            if (same(was, is)) {
                if (CONTENTS.contains(key)) {
                    requireSameContent(copy(dir, key), is);
                }
                continue;
            }
            String change =
                    key + " was " + (was == null ? "not given" : was) + ", is now " + (is == null ? "not given" : is);
            if (!TOLD.contains(key)) {
                throw new IllegalArgumentException(
                        file + ": " + change
                                + ": --resume goes on with the same run; give the old value, or another --output without --resume");
            }
            changes.add(change);
        }
        return changes;
    }

    private static void requireSameContent(Path copy, String given) {
        try {
            if (Files.exists(copy) && Files.mismatch(copy, Path.of(given)) >= 0) {
                throw new IllegalArgumentException(
                        given + " is not what it was when the run began, which is kept in " + copy
                                + ": --resume goes on with the same run; give that file back, or another --output without --resume");
            }
        } catch (IOException e) {
            throw new UncheckedIOException(given, e);
        }
    }

    /** Equal, or two names of one file: a run can go on from another working folder. */
    private static boolean same(String was, String is) {
        if (was == null || is == null || was.equals(is)) {
            return Objects.equals(was, is);
        }
        try {
            return Files.isSameFile(Path.of(was), Path.of(is));
        } catch (IOException | InvalidPathException e) {
            return false;
        }
    }
}
