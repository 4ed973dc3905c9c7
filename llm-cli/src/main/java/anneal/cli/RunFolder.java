package anneal.cli;

import anneal.io.CheckpointStore;
import anneal.io.CheckpointStore.Keep;
import anneal.io.Folders;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.stream.Stream;
import picocli.CommandLine.Model.CommandSpec;

/** What a run leaves behind: config.yaml, metrics.jsonl, loss.png, checkpoints, and the result itself. */
final class RunFolder implements AutoCloseable {
    private static final ObjectMapper JSON = new ObjectMapper();
    private final Path dir;
    private final BufferedWriter metrics;
    private final Start start;

    /** What the folder was before. */
    private enum Start {
        CREATED,
        EMPTY,
        RESUMED
    }

    private RunFolder(Path dir, BufferedWriter metrics, Start start) {
        this.dir = dir;
        this.metrics = metrics;
        this.start = start;
    }

    /** Throws unless {@link #open} can make the folder, or with {@code resume} has a run to go on with. */
    static void require(Path dir, boolean resume) {
        if (resume && !Files.isDirectory(dir.resolve("checkpoints"))) {
            throw new IllegalArgumentException(dir + ": nothing to resume, there is no folder checkpoints in it");
        }
        if (!resume) {
            requireNew(dir, ", or --resume");
        }
    }

    /** Throws if there is something at {@code path} already that is not an empty folder. */
    static void requireNew(Path path, String way) {
        try {
            if (Files.exists(path) && !isEmptyFolder(path)) {
                throw new IllegalArgumentException(path + ": output exists already: name another one" + way);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(path.toString(), e);
        }
    }

    /** Makes the folder, or with {@code resume} goes on in it. */
    static RunFolder open(Path dir, boolean resume) {
        require(dir, resume);
        Start start = resume ? Start.RESUMED : Files.exists(dir) ? Start.EMPTY : Start.CREATED;
        try {
            Files.createDirectories(dir);
            return new RunFolder(
                    dir,
                    Files.newBufferedWriter(
                            dir.resolve("metrics.jsonl"), StandardOpenOption.CREATE, StandardOpenOption.APPEND),
                    start);
        } catch (IOException e) {
            throw new UncheckedIOException(dir.toString(), e);
        }
    }

    private static boolean isEmptyFolder(Path dir) throws IOException {
        try (Stream<Path> files = Files.list(dir)) {
            return files.findAny().isEmpty();
        } catch (java.nio.file.NotDirectoryException e) {
            return false;
        }
    }

    Path path() {
        return dir;
    }

    Path checkpoints() {
        return dir.resolve("checkpoints");
    }

    /** Writes all options of a command with the values in force: the file that --config reads. */
    void writeConfig(CommandSpec command) {
        RunConfig.write(dir, command);
    }

    /** Lets {@code save} write a folder and moves its files into this one, each whole. */
    void adopt(Consumer<Path> save) {
        Path part = dir.resolve("result.part");
        try {
            Folders.delete(part);
            try {
                save.accept(part);
                try (Stream<Path> files = Files.list(part)) {
                    for (Path file : files.toList()) {
                        Files.move(file, dir.resolve(file.getFileName()), StandardCopyOption.REPLACE_EXISTING);
                    }
                }
            } finally {
                Folders.delete(part);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(dir.toString(), e);
        }
    }

    /**
     * Takes back a new run that has come to no whole checkpoint, so that the same command can be given again.
     *
     * @param why what ended the run: nothing that fails here may hide it
     */
    void discard(Throwable why) {
        try {
            try {
                metrics.close();
            } catch (IOException e) {
                why.addSuppressed(e); // on a full disk the line that could not be written fails again
            }
            if (start == Start.RESUMED
                    || !new CheckpointStore(checkpoints(), Keep.ALL).list().isEmpty()) {
                return;
            }
            if (start == Start.CREATED) {
                Folders.delete(dir);
                return;
            }
            Folders.delete(checkpoints());
            for (String ours : List.of("metrics.jsonl", RunConfig.NAME)) {
                Files.deleteIfExists(dir.resolve(ours));
            }
        } catch (IOException | RuntimeException e) {
            why.addSuppressed(e);
        }
    }

    /** Appends one line to metrics.jsonl. */
    void log(String kind, Object record) {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("event", kind);
        line.putAll(JSON.convertValue(record, new TypeReference<Map<String, Object>>() {}));
        try {
            metrics.write(JSON.writeValueAsString(line));
            metrics.newLine();
            metrics.flush();
        } catch (IOException e) {
            throw new UncheckedIOException(dir.resolve("metrics.jsonl").toString(), e);
        }
    }

    /** What {@link #log} has written so far, earlier runs in this folder included; a line that a crash cut short is left out. */
    List<JsonNode> logged() {
        Path file = dir.resolve("metrics.jsonl");
        List<JsonNode> events = new ArrayList<>();
        try {
            for (String line : Files.readAllLines(file)) {
                try {
                    events.add(JSON.readTree(line));
                } catch (JsonProcessingException e) {
                    continue; // the lines are for looking at: no reason not to go on training
                }
            }
            return events;
        } catch (IOException e) {
            throw new UncheckedIOException(file.toString(), e);
        }
    }

    @Override
    public void close() {
        try {
            metrics.close();
        } catch (IOException e) {
            throw new UncheckedIOException(dir.resolve("metrics.jsonl").toString(), e);
        }
    }
}
