package anneal.text;

import java.util.Arrays;

/** Grows while a text is encoded: ids and spans. */
final class TokenBuffer {
    int[] ids;
    int[] starts;
    int[] ends;
    int size;

    TokenBuffer(int capacity) {
        int n = Math.max(capacity, 16);
        ids = new int[n];
        starts = new int[n];
        ends = new int[n];
    }

    void add(int id, int start, int end) {
        if (size == ids.length) {
            reserve(1);
        }
        ids[size] = id;
        starts[size] = start;
        ends[size++] = end;
    }

    /** Makes room for {@code more} tokens. */
    void reserve(int more) {
        if (size + more > ids.length) {
            int n = Math.max(size + more, ids.length + (ids.length >> 1));
            ids = Arrays.copyOf(ids, n);
            starts = Arrays.copyOf(starts, n);
            ends = Arrays.copyOf(ends, n);
        }
    }

    Encoding build() {
        return new Encoding(Arrays.copyOf(ids, size), Arrays.copyOf(starts, size), Arrays.copyOf(ends, size));
    }
}
