package anneal.text;

import java.util.Arrays;

/**
 * The merges of a BPE vocabulary: (left id, right id) to rank and merged id, in one open-addressing table of longs.
 *
 * <p>The lowest rank merges first. Ranks need not differ: among equal ranks the leftmost pair merges first.
 */
final class MergeTable {
    /** No such merge: larger than every entry, so that a search for the minimum needs no test. */
    static final long NONE = Long.MAX_VALUE;

    private long[] table; // key at 2 i, value at 2 i + 1
    private int mask;
    private int size;

    MergeTable(int expected) {
        int capacity = Integer.highestOneBit(Math.max(expected, 8)) * 4;
        table = new long[2 * capacity];
        Arrays.fill(table, -1);
        mask = capacity - 1;
    }

    int size() {
        return size;
    }

    /** Adds a merge; the first of two with the same pair stays (it has the lower rank). False if it was there. */
    boolean add(int left, int right, int rank, int merged) {
        if (size * 2 > mask) {
            grow();
        }
        int i = slot(key(left, right));
        if (table[2 * i] != -1) {
            return false;
        }
        table[2 * i] = key(left, right);
        table[2 * i + 1] = (long) rank << 32 | merged;
        size++;
        return true;
    }

    /** Rank in the high half and merged id in the low half, or {@link #NONE}. */
    long find(int left, int right) {
        long key = key(left, right);
        int i = slot(key);
        return table[2 * i] == key ? table[2 * i + 1] : NONE;
    }

    static int rank(long entry) {
        return (int) (entry >>> 32);
    }

    static int merged(long entry) {
        return (int) entry;
    }

    private static long key(int left, int right) {
        return (long) left << 32 | right;
    }

    private int slot(long key) {
        long h = key * 0x9E3779B97F4A7C15L;
        int i = (int) (h >>> 32) & mask;
        while (table[2 * i] != key && table[2 * i] != -1) {
            i = i + 1 & mask;
        }
        return i;
    }

    private void grow() {
        long[] old = table;
        table = new long[old.length * 2];
        Arrays.fill(table, -1);
        mask = table.length / 2 - 1;
        for (int j = 0; j < old.length; j += 2) {
            if (old[j] != -1) {
                int i = slot(old[j]);
                table[2 * i] = old[j];
                table[2 * i + 1] = old[j + 1];
            }
        }
    }
}
