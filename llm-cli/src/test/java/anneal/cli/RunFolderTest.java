package anneal.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.io.CheckpointStore;
import anneal.io.CheckpointStore.Keep;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.OptionalDouble;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a run that fails leaves in its folder. */
class RunFolderTest {
    @TempDir
    private Path dir;

    private static void fail(Path run) {
        RunFolder folder = RunFolder.open(run, false);
        folder.log("step", Map.of("loss", 1));
        folder.discard(new IllegalStateException());
    }

    @Test
    void aRunWithoutAWholeCheckpointIsTakenBack() throws IOException {
        Path made = dir.resolve("made"), empty = Files.createDirectory(dir.resolve("empty"));
        fail(made);
        assertThat(made).doesNotExist();
        fail(empty);
        assertThat(empty).isEmptyDirectory();
        RunFolder torn = RunFolder.open(made, false);
        Files.createDirectories(torn.checkpoints().resolve("checkpoint-1"));
        torn.discard(new IllegalStateException());
        assertThat(made).doesNotExist();
    }

    @Test
    void aRunWithACheckpointAndOneThatWentOnStay() {
        Path run = dir.resolve("run");
        RunFolder folder = RunFolder.open(run, false);
        new CheckpointStore(folder.checkpoints(), Keep.ALL).save(1, OptionalDouble.empty(), to -> {});
        folder.discard(new IllegalStateException());
        assertThat(folder.checkpoints()).isNotEmptyDirectory();
        RunFolder.open(run, true).discard(new IllegalStateException());
        assertThat(folder.checkpoints()).isNotEmptyDirectory();
    }

    @Test
    void aResultThatCannotBeSavedLeavesNothing() throws IOException {
        Path run = dir.resolve("run");
        try (RunFolder folder = RunFolder.open(run, false)) {
            assertThatThrownBy(() -> folder.adopt(part -> {
                        assertThat(part.toFile().mkdir()).isTrue();
                        throw new IllegalStateException("disk full");
                    }))
                    .hasMessage("disk full");
        }
        assertThat(run).isDirectoryNotContaining("glob:**result.part");
    }
}
