package anneal.io;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PageStoreTest {
    @TempDir
    private Path dir;

    @Test
    void givesZerosAndLeavesNothingBehind() throws IOException {
        MemorySegment first;
        try (PageStore store = PageStore.create(dir.resolve("new/pages"), 64 + 3_000_000)) {
            first = store.take(5);
            MemorySegment second = store.take(3_000_000);
            first.fill((byte) 7);
            assertThat(second.address() % 64).isZero();
            assertThat(second.get(JAVA_BYTE, 0)).isZero();
            assertThat(second.get(JAVA_BYTE, 2_999_999)).isZero();
            second.set(JAVA_BYTE, 2_999_999, (byte) 9);
            assertThat(second.get(JAVA_BYTE, 2_999_999)).isEqualTo((byte) 9);
        }
        assertThatThrownBy(() -> first.get(JAVA_BYTE, 0)).isInstanceOf(IllegalStateException.class);
        try (Stream<Path> left = Files.list(dir.resolve("new/pages"))) {
            assertThat(left).isEmpty();
        }
    }

    @Test
    void aFullDiskIsOneSentence() {
        assertThatThrownBy(() -> PageStore.create(dir, 1L << 60))
                .isInstanceOf(UncheckedIOException.class)
                .hasMessageMatching("\\Q" + dir
                        + "\\E cannot hold pages of memory: it has room for \\d+ MB, not for 1099511627776 MB");
        assertThat(dir).isEmptyDirectory();
    }

    @Test
    void aFileInTheWayIsOneSentence() throws IOException {
        Path file = Files.writeString(dir.resolve("file"), "x");
        assertThatThrownBy(() -> PageStore.create(file, 10))
                .isInstanceOf(UncheckedIOException.class)
                .hasMessage(file + " cannot hold pages of memory: file already exists " + file);
    }
}
