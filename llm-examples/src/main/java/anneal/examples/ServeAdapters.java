package anneal.examples;

import anneal.Pretrained;
import anneal.model.Tokens;
import anneal.peft.AdapterSet;
import anneal.peft.Combination;
import anneal.tensor.Memory;
import anneal.tensor.Tape;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** Two adapters in one model, each row of a batch through its own: {@code ServeAdapters MODEL SKY SEA}. */
public final class ServeAdapters {
    private ServeAdapters() {}

    /** Prints the logit of the first token for the two adapters, the base and both combined. */
    public static void main(String[] args) {
        try (Pretrained lm = Pretrained.load(Path.of(args[0]))) {
            AdapterSet set = load(lm, List.of(Path.of(args[1]), Path.of(args[2])));
            int[] ids = {5, 6, 7, 5, 6, 7, 5, 6, 7};
            System.out.println("both combined: " + logits(lm, Tokens.of(5, 6, 7))[0]);
            try (var _ = set.rows("sky", "sea", AdapterSet.BASE)) {
                float[] all = logits(lm, Tokens.of(ids, 3, 3));
                for (int row = 0; row < 3; row++) {
                    System.out.println("row " + row + ": " + all[row * all.length / 3]);
                }
            }
        }
    }

    private static AdapterSet load(Pretrained lm, List<Path> folders) {
        AdapterSet set = new AdapterSet(lm.model().root());
        set.load("sky", folders.get(0));
        set.load("sea", folders.get(1));
        set.combine("both", Combination.of(Combination.Kind.CAT), Map.of("sky", 0.7, "sea", 0.3));
        set.use("both");
        return set;
    }

    private static float[] logits(Pretrained lm, Tokens tokens) {
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            return lm.model().logits(tokens).toArray();
        }
    }
}
