package anneal;

import java.nio.file.Path;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;

/** What tests on files of {@link TinyModel} begin with: its folder and conversations, made once, and a folder of each test's own. */
public abstract class TinyModelFixture {
    @TempDir
    protected static Path shared;

    protected static Path model, data;

    @TempDir
    protected Path dir;

    @BeforeAll
    protected static void writeModel() {
        model = TinyModel.write(shared.resolve("model"));
        data = TinyModel.conversations(shared.resolve("train.jsonl"), 12);
    }
}
