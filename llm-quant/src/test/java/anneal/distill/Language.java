package anneal.distill;

import anneal.data.Batch;
import anneal.model.Decoder;
import anneal.model.DecoderConfig;
import anneal.model.Family;
import anneal.model.Init;
import anneal.tensor.Rng;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import java.util.function.IntFunction;

/** A language of 24 words in which each word can be followed by four others, and models of it. */
final class Language {
    static final int WORDS = 24, LENGTH = 24;
    private static final double[] CHANCES = {0.5, 0.25, 0.15, 0.1};
    private static final int[] STEPS = {3, 9, 1, 14};

    private Language() {}

    static Decoder model(int hidden, int layers, long seed, Arena arena) {
        DecoderConfig config = DecoderConfig.builder(Family.LLAMA)
                .vocabSize(WORDS)
                .hiddenSize(hidden)
                .layers(layers)
                .heads(4)
                .contextLength(64)
                .initRange(0.2)
                .build();
        return new Decoder(config, Init.usual(config).weights(config, seed, arena));
    }

    /** Rows of the language; the first {@code prompt} words of each are given, the others are learnt. */
    static Batch batch(int rows, int prompt, long seed) {
        Rng rng = new Rng(seed);
        int n = rows * LENGTH;
        int[] ids = new int[n], targets = new int[n], positions = new int[n];
        for (int row = 0; row < rows; row++) {
            int word = rng.nextInt(WORDS);
            for (int i = 0; i < LENGTH; i++) {
                int at = row * LENGTH + i;
                ids[at] = word;
                word = next(word, rng);
                targets[at] = i < prompt - 1 ? -1 : word;
                positions[at] = i;
            }
        }
        return new Batch(ids, targets, new int[n], positions, rows, LENGTH, List.of("language " + seed));
    }

    private static int next(int word, Rng rng) {
        double u = rng.nextDouble();
        int i = 0;
        while (i < 3 && u >= CHANCES[i]) {
            u -= CHANCES[i++];
        }
        return (word * 7 + STEPS[i]) % WORDS;
    }

    /** Endless batches of {@code rows} rows; with {@code different} > 0 only so many different ones, again and again. */
    static IntFunction<Iterator<Batch>> data(int rows, int different, int perEpoch) {
        return epoch -> {
            List<Batch> batches = new ArrayList<>();
            for (int i = 0; i < perEpoch; i++) {
                int number = epoch * perEpoch + i;
                batches.add(batch(rows, 1, 1000 + (different > 0 ? number % different : number)));
            }
            return Collections.unmodifiableList(batches).iterator();
        };
    }
}
