package anneal;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.tensor.Tape;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.io.TempDir;

/** What tests on tensors that outlive a step begin and end with: a folder, an arena, and a tape that is empty again afterwards. */
public abstract class ArenaFixture {
    @TempDir
    protected Path dir;

    protected final Arena arena = Arena.ofShared();

    @AfterEach
    protected void closeArena() {
        Tape.clear();
        arena.close();
    }

    /** The call must be refused with exactly this sentence. */
    protected static void refused(Runnable call, String message) {
        assertThatThrownBy(call::run)
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage(message);
    }
}
