package anneal.model;

import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Keys and values of the tokens seen so far, by layer: keys [B, capacity, G K] after rotation, values the same.
 *
 * <p>A forward pass first appends its keys and values in every layer, then calls {@link #advance} once.
 */
public final class KvCache implements AutoCloseable {
    private final Arena arena = Arena.ofShared();
    private final Tensor[] keys;
    private final Tensor[] values;
    private final int batch;
    private final int capacity;
    private int length;

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
    public int length() {
        return length;
    }

    /** Positions there is room for. */
    public int capacity() {
        return capacity;
    }

    /** Keys of a layer [B, capacity, G K]. */
    public Tensor keys(int layer) {
        return keys[layer];
    }

    /** Values of a layer [B, capacity, G K]. */
    public Tensor values(int layer) {
        return values[layer];
    }

    /** Writes keys and values [B, T, G K] of new tokens behind those that are there. */
    public void append(int layer, Tensor k, Tensor v) {
        int count = k.rowCount() / batch;
        if (length + count > capacity) {
            throw new IllegalArgumentException(
                    "KvCache: " + length + " + " + count + " tokens do not fit a capacity of " + capacity);
        }
        long row = 4L * k.rowSize();
        for (int b = 0; b < batch; b++) {
            long to = ((long) b * capacity + length) * row;
            MemorySegment.copy(k.buf(), b * count * row, keys[layer].buf(), to, count * row);
            MemorySegment.copy(v.buf(), b * count * row, values[layer].buf(), to, count * row);
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

    /** Row i becomes what row {@code from[i]} was: beams that go on from others. */
    public void reorder(int[] from) {
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
