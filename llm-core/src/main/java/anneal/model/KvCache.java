package anneal.model;

import anneal.nn.KeyValueCache;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Keys and values of the tokens seen so far, by layer: keys [B, capacity, G K] after rotation, values the same.
 *
 * <p>A forward pass first appends its keys and values in every layer, then calls {@link #advance} once.
 */
public final class KvCache implements KeyValueCache, AutoCloseable {
    private final Arena arena = Arena.ofShared();
    private final Tensor[] keys;
    private final Tensor[] values;
    private final int batch;
    private final int capacity;
    private int length;
    /** Segment of each position [B, capacity]; null while no token had one. */
    private int[] segments;

    /** An empty cache; width is kv-heads times head size. */
    public KvCache(int layers, int batch, int capacity, int width) {
        this.batch = batch;
        this.capacity = capacity;
        keys = new Tensor[layers];
        values = new Tensor[layers];
        for (int i = 0; i < layers; i++) {
            keys[i] = Tensor.allocate(arena, Shape.of(batch, capacity, width));
            values[i] = Tensor.allocate(arena, Shape.of(batch, capacity, width));
        }
    }

    /** Number of rows. */
    public int batch() {
        return batch;
    }

    /** Positions that are filled. */
    @Override
    public int length() {
        return length;
    }

    /** Positions there is room for. */
    @Override
    public int capacity() {
        return capacity;
    }

    /** Keys of a layer [B, capacity, G K]. */
    @Override
    public Tensor keys(int layer) {
        return keys[layer];
    }

    /** Values of a layer [B, capacity, G K]. */
    @Override
    public Tensor values(int layer) {
        return values[layer];
    }

    /** Writes keys and values [B, T, G K] of new tokens behind those that are there. */
    @Override
    public void append(int layer, Tensor k, Tensor v) {
        int count = k.rowCount() / batch;
        requireRoom(count);
        long row = 4L * k.rowSize();
        for (int b = 0; b < batch; b++) {
            long to = ((long) b * capacity + length) * row;
            MemorySegment.copy(k.buf(), b * count * row, keys[layer].buf(), to, count * row);
            MemorySegment.copy(v.buf(), b * count * row, values[layer].buf(), to, count * row);
        }
    }

    /**
     * Notes the segments of {@code count} tokens a row that are about to be appended.
     *
     * @param own [B * count], or null: the row's first segment, 0
     * @return segments of all keys, these included [B * (length + count)], or null while no token had one
     */
    int[] segments(int[] own, int count) {
        requireRoom(count);
        if (own == null && segments == null) {
            return null;
        }
        if (segments == null) {
            segments = new int[batch * capacity];
        }
        int[] all = new int[batch * (length + count)];
        for (int b = 0; b < batch; b++) {
            for (int i = 0; i < count; i++) {
                segments[b * capacity + length + i] = own == null ? 0 : own[b * count + i];
            }
            System.arraycopy(segments, b * capacity, all, b * (length + count), length + count);
        }
        return all;
    }

    private void requireRoom(int count) {
        if (length + count > capacity) {
            throw new IllegalArgumentException(
                    "KvCache: " + length + " + " + count + " tokens do not fit a capacity of " + capacity);
        }
    }

    /** Counts the tokens that every layer has appended. */
    public void advance(int count) {
        length += count;
    }

    /** Forgets all but the first {@code to} positions. */
    public void truncate(int to) {
        if (to < 0 || to > length) {
            throw new IllegalArgumentException("KvCache: cannot truncate " + length + " tokens to " + to);
        }
        length = to;
    }

    /** Every row becomes what the only row of another cache is: beams that start from one prompt. */
    public void copy(KvCache one) {
        if (one.batch != 1 || one.length > capacity || one.keys.length != keys.length) {
            throw new IllegalArgumentException("KvCache: " + one.batch + " rows of " + one.length
                    + " tokens cannot be copied into each row of a cache of " + capacity);
        }
        for (int layer = 0; layer < keys.length; layer++) {
            copyRow(one.keys[layer], keys[layer], one.length);
            copyRow(one.values[layer], values[layer], one.length);
        }
        length = one.length;
        segments = null;
        if (one.segments != null) {
            segments = new int[batch * capacity];
            for (int b = 0; b < batch; b++) {
                System.arraycopy(one.segments, 0, segments, b * capacity, one.length);
            }
        }
    }

    private void copyRow(Tensor from, Tensor to, int count) {
        long bytes = 4L * count * from.rowSize(), row = 4L * capacity * to.rowSize();
        for (int b = 0; b < batch; b++) {
            MemorySegment.copy(from.buf(), 0, to.buf(), b * row, bytes);
        }
    }

    /** Row i becomes what row {@code from[i]} was: beams that go on from others. */
    public void reorder(int[] from) {
        if (segments != null) {
            int[] old = segments.clone();
            for (int b = 0; b < batch; b++) {
                System.arraycopy(old, from[b] * capacity, segments, b * capacity, capacity);
            }
        }
        for (Tensor[] side : new Tensor[][] {keys, values}) {
            for (Tensor t : side) {
                long bytes = 4L * t.size() / batch;
                try (Arena temp = Arena.ofConfined()) {
                    MemorySegment old = temp.allocate(bytes * batch).copyFrom(t.buf());
                    for (int b = 0; b < batch; b++) {
                        MemorySegment.copy(old, from[b] * bytes, t.buf(), b * bytes, bytes);
                    }
                }
            }
        }
    }

    @Override
    public void close() {
        arena.close();
    }
}
