package anneal.text;

import java.util.Arrays;

/**
 * Words that were encoded before, with their tokens: open addressing on the word's characters, everything in flat arrays.
 * When it is full it starts again from nothing.
 */
final class WordCache {
    /** Longer words are not kept. */
    static final int MAX_WORD = 48;

    private static final int SLOTS = 1 << 17;
    private static final int MAX_WORDS = SLOTS / 2;

    /** Per slot: hash, start of the word in {@link #keys}, length (low half) and token count (high half), first token. */
    private int[] slots = new int[4 * 1024];

    private char[] keys = new char[1 << 13];
    private int keySize;
    private int words;
    /** Tokens of all words: id, then first (high half) and last exclusive (low half) character within the word. */
    long[] tokens = new long[1 << 11];

    private int tokenSize;

    static int hash(char[] chars, int from, int to) {
        int h = to - from;
        for (int i = from; i < to; i++) {
            h = (h ^ chars[i]) * 0x01000193;
        }
        h ^= h >>> 15;
        h *= 0x2C1B3C6D;
        return h ^ h >>> 13;
    }

    /** The slot of the word, or -1. */
    int find(int hash, char[] chars, int from, int to) {
        int n = to - from;
        int mask = slots.length / 4 - 1;
        for (int s = hash & mask; ; s = s + 1 & mask) {
            int at = 4 * s;
            int meta = slots[at + 2];
            if (meta == 0) {
                return -1;
            }
            if (slots[at] == hash && (meta & 0xFFFF) == n && same(slots[at + 1], chars, from, n)) {
                return s;
            }
        }
    }

    int count(int slot) {
        return slots[4 * slot + 2] >>> 16;
    }

    int first(int slot) {
        return slots[4 * slot + 3];
    }

    static long token(int id, int from, int to) {
        return (long) id << 32 | from << 16 | to;
    }

    /** Keeps a word that is not in the cache with {@code count} tokens. */
    void put(int hash, char[] chars, int from, int to, long[] of, int count) {
        if (words >= MAX_WORDS) {
            clear();
        } else if (words * 8 > slots.length) {
            grow();
        }
        int n = to - from;
        if (keySize + n > keys.length) {
            keys = Arrays.copyOf(keys, 2 * keys.length);
        }
        if (tokenSize + count > tokens.length) {
            tokens = Arrays.copyOf(tokens, 2 * tokens.length);
        }
        System.arraycopy(chars, from, keys, keySize, n);
        System.arraycopy(of, 0, tokens, tokenSize, count);
        insert(hash, keySize, n | count << 16, tokenSize);
        keySize += n;
        tokenSize += count;
        words++;
    }

    private boolean same(int key, char[] chars, int from, int n) {
        for (int i = 0; i < n; i++) {
            if (keys[key + i] != chars[from + i]) {
                return false;
            }
        }
        return true;
    }

    private void insert(int hash, int key, int meta, int token) {
        int mask = slots.length / 4 - 1;
        int s = hash & mask;
        while (slots[4 * s + 2] != 0) {
            s = s + 1 & mask;
        }
        slots[4 * s] = hash;
        slots[4 * s + 1] = key;
        slots[4 * s + 2] = meta;
        slots[4 * s + 3] = token;
    }

    private void grow() {
        int[] old = slots;
        slots = new int[2 * old.length];
        for (int at = 0; at < old.length; at += 4) {
            if (old[at + 2] != 0) {
                insert(old[at], old[at + 1], old[at + 2], old[at + 3]);
            }
        }
    }

    private void clear() {
        Arrays.fill(slots, 0);
        keySize = 0;
        tokenSize = 0;
        words = 0;
    }
}
