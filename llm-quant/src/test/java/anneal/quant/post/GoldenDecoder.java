package anneal.quant.post;

import anneal.Golden;
import anneal.model.Decoder;
import anneal.model.ModelFiles;
import anneal.model.Tokens;
import anneal.tensor.Memory;
import anneal.tensor.Rng;
import anneal.tensor.Tape;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Assumptions;

/** A tiny random decoder of golden, and some tokens. */
record GoldenDecoder(Decoder model, int windows, int length) {
    static GoldenDecoder load(String folder, Arena arena) {
        Path path = Golden.root().resolve("models").resolve(folder);
        Assumptions.assumeTrue(
                Files.isDirectory(path), "no " + path + ": llama and gpt2 are shipped, others are in -Danneal.golden");
        return new GoldenDecoder(ModelFiles.load(path, arena), 4, 24);
    }

    private Tokens tokens(int window) {
        Rng rng = new Rng(50 + window);
        int[] ids = new int[length];
        for (int i = 0; i < length; i++) {
            ids[i] = 3 + rng.nextInt(model.vocabSize() - 3);
        }
        return Tokens.of(ids);
    }

    /** Runs the model over all windows. */
    void forward() {
        for (int w = 0; w < windows; w++) {
            try (var _ = Memory.scope()) {
                model.hidden(tokens(w), null);
            }
        }
    }

    /** Hidden states of all windows after the final norm. */
    float[] hidden() {
        int each = length * model.config().hiddenSize();
        float[] all = new float[windows * each];
        for (int w = 0; w < windows; w++) {
            try (var _ = Memory.scope();
                    var _ = Tape.pause()) {
                System.arraycopy(model.hidden(tokens(w), null).toArray(), 0, all, w * each, each);
            }
        }
        return all;
    }
}
