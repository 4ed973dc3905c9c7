package anneal.text;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;

/**
 * The loop of BPE training over counted words. Each step takes the pair with the highest count (the lower ids among
 * equals), makes it a token, and updates the counts of its neighbours in the words where it stood.
 *
 * <p>Counts are kept as Hugging Face's trainer keeps them, so that the order of merges is the same: the merged pair's own
 * count is not taken back, and a queue entry whose count has gone stale is queued again with the new one.
 */
final class PairMerger {
    private final List<String> tokens;
    private final Map<String, Integer> ids = new HashMap<>();
    private final long minFrequency;

    /** Symbols of all words; word w has {@code lengths[w]} of them from {@code starts[w]}. */
    private final int[] symbols;

    private final int[] starts;
    private final int[] lengths;
    private final long[] counts;

    private final PairTable pairs = new PairTable();
    private final PriorityQueue<Candidate> queue = new PriorityQueue<>();

    /** A pair that may be merged, with the words it stands in. */
    private static final class Candidate implements Comparable<Candidate> {
        final long pair;
        final int entry;
        final int[] words;
        final int size;
        long count;

        Candidate(long pair, int entry, int[] words, int size, long count) {
            this.pair = pair;
            this.entry = entry;
            this.words = words;
            this.size = size;
            this.count = count;
        }

        @Override
        public int compareTo(Candidate o) {
            return count != o.count ? Long.compare(o.count, count) : Long.compare(pair, o.pair);
        }
    }

    /**
     * @param byteIds id of each byte's token
     * @param tokens spellings by id; new tokens are appended
     */
    PairMerger(WordCounts words, int[] byteIds, List<String> tokens, long minFrequency) {
        this.tokens = tokens;
        this.minFrequency = minFrequency;
        for (int id = 0; id < tokens.size(); id++) {
            ids.put(tokens.get(id), id);
        }
        int n = words.size();
        starts = new int[n];
        lengths = new int[n];
        counts = new long[n];
        int[] all = new int[1 << 14];
        int size = 0;
        for (int w = 0; w < n; w++) {
            byte[] bytes = words.word(w).getBytes(StandardCharsets.UTF_8);
            if (size + bytes.length > all.length) {
                all = Arrays.copyOf(all, Math.max(size + bytes.length, Math.addExact(size, size)));
            }
            starts[w] = size;
            lengths[w] = bytes.length;
            counts[w] = words.count(w);
            for (byte b : bytes) {
                all[size++] = byteIds[b & 0xFF];
            }
        }
        symbols = all;
    }

    /** Learns merges until there are {@code vocabSize} tokens; left and right ids in order. */
    int[] learn(int vocabSize) {
        for (int w = 0; w < lengths.length; w++) {
            for (int i = starts[w]; i + 1 < starts[w] + lengths[w]; i++) {
                pairs.change(pair(symbols[i], symbols[i + 1]), counts[w], w, true);
            }
        }
        queueTouched();
        int[] merges = new int[64];
        int n = 0;
        while (ids.size() < vocabSize && !queue.isEmpty()) {
            Candidate top = queue.poll();
            long now = pairs.count(top.entry);
            if (top.count != now) {
                top.count = now;
                queue.add(top);
                continue;
            }
            if (top.count < 1 || top.count < minFrequency) {
                break;
            }
            int left = (int) (top.pair >>> 32);
            int right = (int) top.pair;
            int merged = token(tokens.get(left) + tokens.get(right));
            if (n + 2 > merges.length) {
                merges = Arrays.copyOf(merges, 2 * merges.length);
            }
            merges[n++] = left;
            merges[n++] = right;
            for (int k = 0; k < top.size; k++) {
                merge(top.words[k], left, right, merged);
            }
            queueTouched();
        }
        return Arrays.copyOf(merges, n);
    }

    /** Two different pairs can spell the same token: then it is the same id. */
    private int token(String spelling) {
        Integer known = ids.putIfAbsent(spelling, tokens.size());
        if (known != null) {
            return known;
        }
        tokens.add(spelling);
        return tokens.size() - 1;
    }

    /** Replaces the pair in one word, left to right, and counts what appears and disappears beside it. */
    private void merge(int w, int left, int right, int merged) {
        int[] s = symbols;
        long count = counts[w];
        int from = starts[w];
        int end = from + lengths[w];
        int out = from;
        int i = from;
        while (i < end) {
            if (s[i] == left && i + 1 < end && s[i + 1] == right) {
                if (out > from) {
                    pairs.change(pair(s[out - 1], left), -count, w, false);
                    pairs.change(pair(s[out - 1], merged), count, w, true);
                }
                if (i + 2 < end) {
                    pairs.change(pair(right, s[i + 2]), -count, w, false);
                    pairs.change(pair(merged, s[i + 2]), count, w, true);
                }
                s[out++] = merged;
                i += 2;
            } else {
                s[out++] = s[i++];
            }
        }
        lengths[w] = out - from;
    }

    /** Pairs that gained occurrences since the last call are queued with the words where they did. */
    private void queueTouched() {
        for (int k = 0; k < pairs.touched; k++) {
            int entry = pairs.touchedEntries[k];
            long count = pairs.count(entry);
            if (count > 0) {
                queue.add(new Candidate(pairs.pair(entry), entry, pairs.words[entry], pairs.wordCounts[entry], count));
            }
            pairs.words[entry] = null;
            pairs.wordCounts[entry] = 0;
        }
        pairs.touched = 0;
    }

    private static long pair(int left, int right) {
        return (long) left << 32 | right;
    }

    /** Counts by pair, and the words in which a pair gained occurrences in the current step. */
    private static final class PairTable {
        private int[] slots = new int[1 << 14]; // entry + 1
        private long[] keys = new long[1 << 12];
        private long[] counts = new long[1 << 12];
        int[][] words = new int[1 << 12][];
        int[] wordCounts = new int[1 << 12];
        int[] touchedEntries = new int[1 << 10];
        int touched;
        private int size;

        long pair(int entry) {
            return keys[entry];
        }

        long count(int entry) {
            return counts[entry];
        }

        void change(long pair, long by, int word, boolean gains) {
            int e = entry(pair);
            counts[e] += by;
            if (!gains) {
                return;
            }
            int[] list = words[e];
            int n = wordCounts[e];
            if (list == null) {
                list = words[e] = new int[4];
                if (touched == touchedEntries.length) {
                    touchedEntries = Arrays.copyOf(touchedEntries, 2 * touched);
                }
                touchedEntries[touched++] = e;
            } else if (list[n - 1] == word) {
                return; // words are worked on one after the other
            } else if (n == list.length) {
                list = words[e] = Arrays.copyOf(list, 2 * n);
            }
            list[n] = word;
            wordCounts[e] = n + 1;
        }

        private int entry(long pair) {
            int mask = slots.length - 1;
            int s = slot(pair, mask);
            while (slots[s] != 0) {
                if (keys[slots[s] - 1] == pair) {
                    return slots[s] - 1;
                }
                s = s + 1 & mask;
            }
            if (size == keys.length) {
                grow();
                return entry(pair);
            }
            keys[size] = pair;
            slots[s] = size + 1;
            return size++;
        }

        private void grow() {
            int n = 2 * size;
            keys = Arrays.copyOf(keys, n);
            counts = Arrays.copyOf(counts, n);
            words = Arrays.copyOf(words, n);
            wordCounts = Arrays.copyOf(wordCounts, n);
            slots = new int[4 * n];
            int mask = slots.length - 1;
            for (int e = 0; e < size; e++) {
                int s = slot(keys[e], mask);
                while (slots[s] != 0) {
                    s = s + 1 & mask;
                }
                slots[s] = e + 1;
            }
        }

        private static int slot(long pair, int mask) {
            return (int) (pair * 0x9E3779B97F4A7C15L >>> 32) & mask;
        }
    }
}
