package anneal.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CheckpointTest {
    @TempDir
    Path dir;

    @Test
    void tensorsAndStateComeBack() {
        Path folder = dir.resolve("run/checkpoint-7");
        Checkpoint.save(folder, Map.of("step", 7), content(7));
        Checkpoint back = Checkpoint.open(folder);
        assertThat(back.facts().integer("step")).isEqualTo(7);
        assertThat(back.json("state").number("loss")).isEqualTo(1.0 / 7);
        try (Arena arena = Arena.ofConfined()) {
            assertThat(back.tensors("model", arena).get("w").floats()).containsExactly(7, 7);
        }
        assertThat(folder.resolve("inner/notes.txt")).hasContent("step 7");
        assertThat(names(dir.resolve("run"))).containsExactly("checkpoint-7");
    }

    @Test
    void aSecondOneOfTheSameNameReplacesTheFirst() {
        Path folder = dir.resolve("c");
        Checkpoint.save(folder, Map.of(), content(1));
        Checkpoint.save(folder, Map.of(), into -> Json.write(into.resolve("state.json"), Map.of("loss", 2)));
        assertThat(Checkpoint.open(folder).json("state").integer("loss")).isEqualTo(2);
        assertThat(folder.resolve("model.safetensors")).doesNotExist();
        assertThat(names(dir)).containsExactly("c");
    }

    @Test
    void aDiskThatIsFullLeavesThePreviousOne() {
        Path folder = dir.resolve("c");
        Checkpoint.save(folder, Map.of(), content(1));
        for (Exception failure : List.of(
                new IOException("No space left on device"),
                new UncheckedIOException("model.safetensors", new IOException("No space left on device")))) {
            assertThatThrownBy(() -> Checkpoint.save(folder, Map.of(), into -> {
                        content(2).writeTo(into);
                        if (failure instanceof IOException e) {
                            throw e;
                        }
                        throw (RuntimeException) failure;
                    }))
                    .isInstanceOf(CheckpointException.class)
                    .hasMessage(
                            folder
                                    + ": the checkpoint could not be saved, earlier ones are untouched: No space left on device")
                    .satisfies(e -> assertThat(((CheckpointException) e).path()).isEqualTo(folder));
            assertThat(Checkpoint.open(folder).json("state").number("loss")).isEqualTo(1);
            assertThat(names(dir)).containsExactly("c");
        }
    }

    /** The same with a real file system of one megabyte, where the machine lets us make one. */
    @Test
    void aRealDiskThatIsFull() throws Exception {
        Path disk = Files.createDirectory(dir.resolve("disk"));
        Assumptions.assumeTrue(run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk.toString()), "cannot mount");
        try {
            CheckpointStore store = new CheckpointStore(disk, new CheckpointStore.Keep(1, CheckpointStore.Best.NONE));
            store.save(1, OptionalDouble.empty(), content(1));
            StoredTensor big = StoredTensor.of("w", new float[300_000], 300_000);
            assertThatThrownBy(() -> store.save(
                            2,
                            OptionalDouble.empty(),
                            into -> new SafetensorsWriter().write(into.resolve("model.safetensors"), List.of(big))))
                    .isInstanceOf(CheckpointException.class)
                    .hasMessage(
                            disk.resolve("checkpoint-2")
                                    + ": the checkpoint could not be saved, earlier ones are untouched: No space left on device");
            assertThat(names(disk)).containsExactly("checkpoint-1");
            assertThat(store.latest().orElseThrow().step()).isEqualTo(1);
            store.save(3, OptionalDouble.empty(), content(3));
            assertThat(names(disk)).containsExactly("checkpoint-3");
        } finally {
            assertThat(run("umount", disk.toString())).isTrue();
        }
    }

    @Test
    void aDefectInTheWriterLeavesNothingEither() {
        assertThatThrownBy(() -> Checkpoint.save(dir.resolve("c"), Map.of(), into -> {
                    throw new IllegalStateException("defect");
                }))
                .isInstanceOf(IllegalStateException.class)
                .hasMessage("defect");
        assertThat(dir).isEmptyDirectory();
    }

    @Test
    void whatIsNotWholeIsNotOpened() throws IOException {
        Path folder = dir.resolve("c");
        Checkpoint.save(folder, Map.of(), content(1));
        Path tensors = folder.resolve("model.safetensors");
        byte[] whole = Files.readAllBytes(tensors);
        Files.write(tensors, java.util.Arrays.copyOf(whole, 10));
        assertOpenFails(
                folder,
                "the checkpoint is not whole: model.safetensors should have " + whole.length + " bytes but has 10");
        Files.delete(tensors);
        assertOpenFails(folder, "the checkpoint is not whole: model.safetensors is missing");
        Path manifest = folder.resolve("checkpoint.json");
        Files.writeString(manifest, "{\"format\": 1, \"fil");
        assertThatThrownBy(() -> Checkpoint.open(folder))
                .isInstanceOf(CheckpointException.class)
                .hasMessageStartingWith(folder + ": the checkpoint cannot be read: " + manifest + ": line 1, column ");
        Files.writeString(manifest, "{\"format\": 2}");
        assertOpenFails(
                folder,
                "the checkpoint cannot be read: " + manifest
                        + ": key \"format\" must be 1, the only one known, but is 2");
        Files.delete(manifest);
        assertOpenFails(folder, "there is no checkpoint.json: no checkpoint, or one that was never finished");
    }

    @Test
    void theLastAndTheBestAreKept() {
        CheckpointStore store = new CheckpointStore(dir, new CheckpointStore.Keep(2, CheckpointStore.Best.LOWEST));
        double[] losses = {3, 1, 2, 1, Double.NaN, 5};
        for (int i = 0; i < losses.length; i++) {
            store.save(10L * i, OptionalDouble.of(losses[i]), content(i));
        }
        assertThat(store.list()).extracting(CheckpointStore.Entry::step).containsExactly(10L, 40L, 50L);
        assertThat(store.best().orElseThrow().step()).isEqualTo(10);
        assertThat(store.latest().orElseThrow().step()).isEqualTo(50);
        assertThat(store.latest().orElseThrow().metric()).hasValue(5);
        assertThat(names(dir)).containsExactly("checkpoint-10", "checkpoint-40", "checkpoint-50");
    }

    @Test
    void theHighestCanBeTheBest() {
        CheckpointStore store = new CheckpointStore(dir, new CheckpointStore.Keep(1, CheckpointStore.Best.HIGHEST));
        double[] rewards = {3, 9, 9, 2};
        for (int i = 0; i < rewards.length; i++) {
            store.save(i, OptionalDouble.of(rewards[i]), content(i));
        }
        assertThat(store.list()).extracting(CheckpointStore.Entry::step).containsExactly(1L, 3L);
    }

    @Test
    void stepsAreOrderedAsNumbersAndAllCanBeKept() {
        CheckpointStore store = new CheckpointStore(dir.resolve("run"), CheckpointStore.Keep.ALL);
        assertThat(store.list()).isEmpty();
        assertThat(store.latest()).isEmpty();
        IntStream.of(9, 100, 10).forEach(step -> store.save(step, OptionalDouble.empty(), content(step)));
        assertThat(store.list()).extracting(CheckpointStore.Entry::step).containsExactly(9L, 10L, 100L);
        assertThat(store.best()).isEmpty();
    }

    @Test
    void partialOnesArePassedOverAndTidiedAway() throws IOException {
        CheckpointStore store = new CheckpointStore(dir, CheckpointStore.Keep.ALL);
        store.save(1, OptionalDouble.empty(), content(1));
        store.save(2, OptionalDouble.empty(), content(2));
        Files.delete(dir.resolve("checkpoint-2/checkpoint.json"));
        Files.createDirectory(dir.resolve("checkpoint-3"));
        Files.createDirectory(dir.resolve("checkpoint-x"));
        Files.move(dir.resolve("checkpoint-1"), dir.resolve("checkpoint-5"));
        assertThat(store.list()).isEmpty();
        Files.move(dir.resolve("checkpoint-5"), dir.resolve(".checkpoint-1.ab12.old"));
        Files.createDirectory(dir.resolve(".checkpoint-4.cd34.tmp"));
        Files.writeString(dir.resolve(".checkpoint-4.cd34.tmp/half"), "x");
        store.save(6, OptionalDouble.empty(), content(6));
        assertThat(store.list()).extracting(CheckpointStore.Entry::step).containsExactly(1L, 6L);
        assertThat(names(dir)).noneMatch(name -> name.startsWith("."));
        assertThat(dir.resolve("checkpoint-x")).exists();
    }

    @Test
    void wrongPoliciesAndSteps() {
        assertThatThrownBy(() -> new CheckpointStore.Keep(0, CheckpointStore.Best.NONE))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("Keep: last must be at least 1 but is 0");
        assertThatThrownBy(() ->
                        new CheckpointStore(dir, CheckpointStore.Keep.ALL).save(-1, OptionalDouble.empty(), content(1)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("CheckpointStore: step must not be negative but is -1");
    }

    private static Checkpoint.Content content(int step) {
        return into -> {
            StoredTensor w = StoredTensor.of("w", new float[] {step, step}, 2);
            new SafetensorsWriter().write(into.resolve("model.safetensors"), List.of(w));
            Json.write(into.resolve("state.json"), Map.of("loss", 1.0 / step));
            Files.createDirectory(into.resolve("inner"));
            Files.writeString(into.resolve("inner/notes.txt"), "step " + step);
        };
    }

    private static void assertOpenFails(Path folder, String message) {
        assertThatThrownBy(() -> Checkpoint.open(folder))
                .isInstanceOf(CheckpointException.class)
                .hasMessage(folder + ": " + message);
    }

    private static List<String> names(Path folder) {
        try (Stream<Path> all = Files.list(folder)) {
            return all.map(p -> p.getFileName().toString()).sorted().toList();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static boolean run(String... command) throws InterruptedException {
        try {
            Process process = new ProcessBuilder(command).inheritIO().start();
            return process.waitFor(20, TimeUnit.SECONDS) && process.exitValue() == 0;
        } catch (IOException e) { // no such command here
            return false;
        }
    }
}
