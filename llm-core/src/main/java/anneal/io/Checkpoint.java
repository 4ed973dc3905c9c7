package anneal.io;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * A folder of tensors and JSON that is there as a whole or not at all.
 *
 * <p>It is written under another name beside its own, forced to the disk, and renamed. Its last file,
 * {@code checkpoint.json}, lists the size of all others: what was copied in part, or lost its end, is found out before
 * it is used.
 */
public final class Checkpoint {
    /** The file that says what the folder must hold. */
    public static final String MANIFEST = "checkpoint.json";

    private static final int FORMAT = 1;

    /** What writes the files of a checkpoint. */
    @FunctionalInterface
    public interface Content {
        /** Writes into an empty folder, which has its final name only afterwards. */
        void writeTo(Path folder) throws IOException;
    }

    private final Path folder;
    private final JsonObject facts;

    private Checkpoint(Path folder, JsonObject facts) {
        this.folder = folder;
        this.facts = facts;
    }

    /**
     * Saves a checkpoint; one of the same name is replaced once the new one is complete.
     *
     * @param facts small things that a listing needs without opening anything else: step, metric
     * @throws CheckpointException if anything cannot be written (disk full); what was there before is then untouched,
     *     and nothing of the new one is left
     */
    public static void save(Path folder, Map<String, ?> facts, Content content) {
        Path temp = AtomicFile.sibling(folder, "tmp");
        try {
            Files.createDirectories(AtomicFile.folderOf(folder));
            Files.createDirectory(temp);
            content.writeTo(temp);
            Map<String, Object> manifest = new LinkedHashMap<>();
            manifest.put("format", FORMAT);
            manifest.put("facts", facts);
            manifest.put("files", Folders.forceAndMeasure(temp));
            Json.write(temp.resolve(MANIFEST), manifest);
            swap(temp, folder);
        } catch (IOException | UncheckedIOException e) {
            deleteQuietly(temp, e);
            Throwable cause = e instanceof UncheckedIOException unchecked ? unchecked.getCause() : e;
            throw new CheckpointException(
                    folder, "the checkpoint could not be saved, earlier ones are untouched: " + reason(cause), e);
        } catch (RuntimeException | Error e) {
            deleteQuietly(temp, e);
            throw e;
        }
    }

    private static void swap(Path temp, Path folder) throws IOException {
        Path old = AtomicFile.sibling(folder, "old");
        boolean replaced = Files.exists(folder);
        if (replaced) {
            Files.move(folder, old, StandardCopyOption.ATOMIC_MOVE);
        }
        try {
            Files.move(temp, folder, StandardCopyOption.ATOMIC_MOVE);
        } catch (IOException e) {
            if (replaced) {
                Files.move(old, folder, StandardCopyOption.ATOMIC_MOVE);
            }
            throw e;
        }
        AtomicFile.forceFolder(AtomicFile.folderOf(folder));
        Folders.delete(old);
    }

    /**
     * Opens a checkpoint.
     *
     * @throws CheckpointException if it is not whole; the message names what is missing or too short
     */
    public static Checkpoint open(Path folder) {
        if (!Files.exists(folder.resolve(MANIFEST))) {
            throw new CheckpointException(
                    folder, "there is no " + MANIFEST + ": no checkpoint, or one that was never finished", null);
        }
        try {
            JsonObject manifest = Json.read(folder.resolve(MANIFEST));
            if (manifest.integer("format") != FORMAT) {
                throw manifest.error("format", FORMAT + ", the only one known,");
            }
            requireWhole(folder, manifest.object("files"));
            return new Checkpoint(folder, manifest.object("facts"));
        } catch (IllegalArgumentException | IOException | UncheckedIOException e) {
            throw new CheckpointException(folder, "the checkpoint cannot be read: " + e.getMessage(), e);
        }
    }

    private static void requireWhole(Path folder, JsonObject files) throws IOException {
        for (String name : files.keys()) {
            Path file = folder.resolve(name);
            long expected = files.longInteger(name);
            if (!Files.exists(file)) {
                throw new CheckpointException(folder, "the checkpoint is not whole: " + name + " is missing", null);
            }
            if (Files.size(file) != expected) {
                throw new CheckpointException(
                        folder,
                        "the checkpoint is not whole: " + name + " should have " + expected + " bytes but has "
                                + Files.size(file),
                        null);
            }
        }
    }

    /** The folder. */
    public Path folder() {
        return folder;
    }

    /** What was given to {@link #save} for listings. */
    public JsonObject facts() {
        return facts;
    }

    /** The tensors of one of its files, {@code name + ".safetensors"}. */
    public Safetensors tensors(String name, Arena arena) {
        return Safetensors.open(folder.resolve(name + ".safetensors"), arena);
    }

    /** One of its JSON files, {@code name + ".json"}. */
    public JsonObject json(String name) {
        return Json.read(folder.resolve(name + ".json"));
    }

    private static String reason(Throwable cause) {
        return cause.getMessage() == null ? cause.getClass().getSimpleName() : cause.getMessage();
    }

    private static void deleteQuietly(Path temp, Throwable cause) {
        try {
            Folders.delete(temp);
        } catch (IOException e) {
            cause.addSuppressed(e);
        }
    }
}
