package anneal.text;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** Merging by scan, by heap and through the cache against the definition, done naively on strings. */
class BpeMergesTest {
    @Test
    void agreesWithTheDefinition() {
        Random random = new Random(5);
        StringBuilder corpus = new StringBuilder();
        for (int i = 0; i < 4_000; i++) {
            corpus.append((char) ('a' + random.nextInt(3)));
        }
        PipelineTokenizer t = (PipelineTokenizer) new BpeTrainer(330).train(List.of(corpus.toString()));
        Map<String, Integer> ranks = new HashMap<>();
        int[] merges = t.parts().merges();
        for (int i = 0; i < merges.length; i += 2) {
            ranks.put(t.token(merges[i]) + " " + t.token(merges[i + 1]), i);
        }
        for (int length : new int[] {1, 2, 3, 17, 47, 48, 49, 63, 64, 65, 66, 130, 400}) {
            for (int k = 0; k < 20; k++) {
                StringBuilder word = new StringBuilder();
                for (int i = 0; i < length; i++) {
                    word.append((char) ('a' + random.nextInt(3)));
                }
                List<String> expected = naive(word.toString(), ranks);
                for (int again = 0; again < 2; again++) {
                    List<String> tokens = new ArrayList<>();
                    for (int id : t.encode(word.toString())) {
                        tokens.add(t.token(id));
                    }
                    assertThat(tokens).isEqualTo(expected);
                }
            }
        }
    }

    private static List<String> naive(String word, Map<String, Integer> ranks) {
        List<String> symbols = new ArrayList<>(List.of(word.split("")));
        while (true) {
            int best = -1;
            int bestRank = Integer.MAX_VALUE;
            for (int i = 0; i + 1 < symbols.size(); i++) {
                int rank = ranks.getOrDefault(symbols.get(i) + " " + symbols.get(i + 1), Integer.MAX_VALUE);
                if (rank < bestRank) {
                    best = i;
                    bestRank = rank;
                }
            }
            if (best < 0) {
                return symbols;
            }
            symbols.set(best, symbols.get(best) + symbols.remove(best + 1));
        }
    }

    @Test
    void theCacheStartsAgainWhenItIsFull() {
        Tokenizer t = new BpeTrainer(300).train(List.of("the cat sat on the mat"));
        for (int i = 0; i < 150_000; i++) {
            String word = "w" + Integer.toString(i, 36);
            if (i % 9_973 == 0) {
                assertThat(t.decode(t.encode(word))).isEqualTo(word);
            } else {
                t.encode(word);
            }
        }
        assertThat(t.decode(t.encode("w1 the cat w2"))).isEqualTo("w1 the cat w2");
    }
}
