package anneal.generate;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** Changes the scores of the next token in place; what may not come gets -infinity. */
@FunctionalInterface
interface Processor {
    /**
     * Changes the scores.
     *
     * @param scores of all tokens
     * @param history prompt and text so far
     */
    void apply(float[] scores, History history);

    /** What stands before the next token. */
    record History(int[] tokens, int length, int prompt) {
        int fromEnd(int i) {
            return tokens[length - i];
        }
    }

    /** The processors of these options, in transformers' order. */
    static List<Processor> of(Sampling s, int[] ends) {
        List<Processor> all = constraints(s, ends);
        if (!s.isGreedy()) {
            all.addAll(cuts(s));
        }
        return all;
    }

    /** Those that act with beam search and greedy choice too. */
    static List<Processor> constraints(Sampling s, int[] ends) {
        List<Processor> all = new ArrayList<>();
        if (s.repetitionPenalty() != 1) {
            all.add((x, h) -> penaliseRepetition(x, h, (float) s.repetitionPenalty()));
        }
        if (s.noRepeatNgram() > 0) {
            all.add((x, h) -> banNgrams(x, h, s.noRepeatNgram()));
        }
        if (!s.banned().isEmpty()) {
            all.add((x, h) -> banSequences(x, h, s.banned(), ends));
        }
        if (s.minLength() > 0) {
            all.add((x, h) -> banIf(h.length < s.minLength(), x, ends));
        }
        if (s.minNewTokens() > 0) {
            all.add((x, h) -> banIf(h.length - h.prompt < s.minNewTokens(), x, ends));
        }
        if (s.suppressed().length > 0) {
            all.add((x, h) -> banIf(true, x, s.suppressed()));
        }
        return all;
    }

    private static List<Processor> cuts(Sampling s) {
        List<Processor> all = new ArrayList<>();
        if (s.temperature() != 1) {
            all.add((x, h) -> Cuts.temperature(x, (float) s.temperature()));
        }
        if (s.topK() > 0) {
            all.add((x, h) -> Cuts.topK(x, s.topK()));
        }
        if (s.topP() < 1) {
            all.add((x, h) -> Cuts.topP(x, s.topP()));
        }
        if (s.minP() > 0) {
            all.add((x, h) -> Cuts.minP(x, s.minP()));
        }
        if (s.typicalP() < 1) {
            all.add((x, h) -> Cuts.typical(x, s.typicalP()));
        }
        if (s.epsilon() > 0) {
            all.add((x, h) -> Cuts.atLeast(x, s.epsilon()));
        }
        if (s.eta() > 0) {
            all.add((x, h) -> Cuts.eta(x, s.eta()));
        }
        return all;
    }

    private static void penaliseRepetition(float[] x, History h, float penalty) {
        Set<Integer> seen = new HashSet<>();
        for (int i = 0; i < h.length; i++) {
            int t = h.tokens[i];
            if (seen.add(t)) {
                x[t] = x[t] < 0 ? x[t] * penalty : x[t] / penalty;
            }
        }
    }

    /** Bans every token that came after an earlier occurrence of the last n - 1 tokens. */
    private static void banNgrams(float[] x, History h, int n) {
        for (int at = 0; at + n <= h.length; at++) {
            if (endsWith(h, h.tokens, at, n - 1)) {
                x[h.tokens[at + n - 1]] = Float.NEGATIVE_INFINITY;
            }
        }
    }

    /** Bans the last token of a sequence whose others are the end of the text; single end tokens are not banned. */
    private static void banSequences(float[] x, History h, List<int[]> banned, int[] ends) {
        for (int[] sequence : banned) {
            int last = sequence[sequence.length - 1];
            boolean single = sequence.length == 1;
            boolean isEnd = single && java.util.Arrays.stream(ends).anyMatch(e -> e == last);
            if (!isEnd && (single || sequence.length <= h.length && endsWith(h, sequence, 0, sequence.length - 1))) {
                x[last] = Float.NEGATIVE_INFINITY;
            }
        }
    }

    private static boolean endsWith(History h, int[] tokens, int at, int count) {
        for (int i = 0; i < count; i++) {
            if (tokens[at + i] != h.fromEnd(count - i)) {
                return false;
            }
        }
        return true;
    }

    private static void banIf(boolean on, float[] x, int[] tokens) {
        for (int t : tokens) {
            if (on) {
                x[t] = Float.NEGATIVE_INFINITY;
            }
        }
    }
}
