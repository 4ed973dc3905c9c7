package anneal.text;

import java.util.Arrays;

/** The different words of a text and how often each occurs, in order of first appearance. */
final class WordCounts {
    private final WordPattern pattern;
    private int[] slots = new int[1 << 12]; // word + 1
    private int[] hashes = new int[1 << 10];
    private int[] starts = new int[(1 << 10) + 1];
    private long[] counts = new long[1 << 10];
    private char[] chars = new char[1 << 13];
    private int size;

    WordCounts(WordPattern pattern) {
        this.pattern = pattern;
    }

    int size() {
        return size;
    }

    long count(int word) {
        return counts[word];
    }

    String word(int word) {
        return new String(chars, starts[word], starts[word + 1] - starts[word]);
    }

    void add(String text) {
        char[] c = text.toCharArray();
        for (int i = 0; i < c.length; ) {
            int end = pattern.next(c, i, c.length);
            add(c, i, end);
            i = end;
        }
    }

    private void add(char[] c, int from, int to) {
        int hash = WordCache.hash(c, from, to);
        int mask = slots.length - 1;
        int s = hash & mask;
        while (slots[s] != 0) {
            int w = slots[s] - 1;
            if (hashes[w] == hash && Arrays.equals(chars, starts[w], starts[w + 1], c, from, to)) {
                counts[w]++;
                return;
            }
            s = s + 1 & mask;
        }
        append(hash, c, from, to);
        slots[s] = size;
        if (size * 2 > slots.length) {
            rehash();
        }
    }

    private void append(int hash, char[] c, int from, int to) {
        if (size == counts.length) {
            hashes = Arrays.copyOf(hashes, 2 * size);
            counts = Arrays.copyOf(counts, 2 * size);
            starts = Arrays.copyOf(starts, 2 * size + 1);
        }
        int at = starts[size];
        int n = to - from;
        if (at + n > chars.length) {
            chars = Arrays.copyOf(chars, Math.max(at + n, Math.addExact(chars.length, chars.length)));
        }
        System.arraycopy(c, from, chars, at, n);
        hashes[size] = hash;
        counts[size] = 1;
        starts[++size] = at + n;
    }

    private void rehash() {
        slots = new int[2 * slots.length];
        int mask = slots.length - 1;
        for (int w = 0; w < size; w++) {
            int s = hashes[w] & mask;
            while (slots[s] != 0) {
                s = s + 1 & mask;
            }
            slots[s] = w + 1;
        }
    }
}
