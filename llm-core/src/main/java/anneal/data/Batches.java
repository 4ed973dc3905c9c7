package anneal.data;

import anneal.tensor.Rng;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.function.IntFunction;

/**
 * An epoch's number to that epoch's batches. What comes depends on the data, the settings, the seed and the epoch only, so a
 * resumed run gets the same batches again. Immutable: each setting gives a new one.
 *
 * <p>Rows are as long as the longest of their batch; the last batch may have fewer rows.
 */
public final class Batches implements IntFunction<Iterator<Batch>> {
    /** How many batches of samples are sorted by length at a time: enough to save padding, few enough to stay random. */
    private static final int GROUP = 50;

    private final EncodedDataset data;
    private final Rows rows;
    private final int size;
    private final Long seed;
    private final boolean grouped;
    private final int rowCount;

    private Batches(EncodedDataset data, Rows rows, int size, Long seed, boolean grouped, int rowCount) {
        this.data = data;
        this.rows = rows;
        this.size = size;
        this.seed = seed;
        this.grouped = grouped;
        this.rowCount = rowCount;
    }

    static Batches of(EncodedDataset data, Rows rows) {
        int rowCount = rows.of(inOrder(data.size()), data.lengths()).length;
        return new Batches(data, rows, 1, null, false, rowCount);
    }

    private static int[] inOrder(int n) {
        int[] order = new int[n];
        Arrays.setAll(order, i -> i);
        return order;
    }

    /** The same with {@code rows} rows in a batch (1 before this is called). */
    public Batches batches(int rowsInBatch) {
        if (rowsInBatch < 1) {
            throw new IllegalArgumentException("batches: batch size " + rowsInBatch + " must be positive");
        }
        return new Batches(data, rows, rowsInBatch, seed, grouped, rowCount);
    }

    /** The same in an order that differs from epoch to epoch; without this, every epoch has the order of the data. */
    public Batches shuffled(long newSeed) {
        return new Batches(data, rows, size, newSeed, grouped, rowCount);
    }

    /** The same with samples of similar length together, which saves padding. Only after {@link EncodedDataset#pad}. */
    public Batches groupedByLength() {
        if (!(rows instanceof Rows.OneEach)) {
            throw new IllegalArgumentException("groupedByLength: packed rows are all of about the same length");
        }
        return new Batches(data, rows, size, seed, true, rowCount);
    }

    /** Number of batches in an epoch. */
    public int count() {
        return Math.ceilDiv(rowCount, size);
    }

    /** Number of tokens in an epoch, padding not counted. */
    public long tokens() {
        return data.tokens();
    }

    /** Number of targets in an epoch. */
    public long trainedTokens() {
        return data.trainedTokens();
    }

    /** The batches of an epoch, counted from 0. */
    @Override
    public Iterator<Batch> apply(int epoch) {
        int[][] epochRows = rows(epoch);
        List<int[]> starts = new ArrayList<>();
        for (int from = 0; from < epochRows.length; from += size) {
            starts.add(new int[] {from, Math.min(epochRows.length, from + size)});
        }
        if (grouped && seed != null) {
            // Grouping sorts: without this, every group would begin with its longest samples.
            int[] order = inOrder(starts.size());
            new Rng(seed).fork(epoch).fork(1).shuffle(order);
            List<int[]> shuffled = new ArrayList<>();
            for (int i : order) {
                shuffled.add(starts.get(i));
            }
            starts = shuffled;
        }
        Iterator<int[]> ranges = starts.iterator();
        return new Iterator<>() {
            @Override
            public boolean hasNext() {
                return ranges.hasNext();
            }

            @Override
            public Batch next() {
                if (!ranges.hasNext()) {
                    throw new NoSuchElementException("epoch " + epoch + " has " + count() + " batches");
                }
                int[] range = ranges.next();
                return batch(Arrays.copyOfRange(epochRows, range[0], range[1]));
            }
        };
    }

    private int[][] rows(int epoch) {
        int[] order = inOrder(data.size());
        Rng rng = seed == null ? null : new Rng(seed).fork(epoch);
        if (rng != null) {
            // Before packing, so that equally long samples meet different neighbours in each epoch.
            rng.shuffle(order);
        }
        if (grouped) {
            group(order);
        }
        int[][] packed = rows.of(order, data.lengths());
        if (rng == null || rows instanceof Rows.OneEach) {
            return packed;
        }
        int[] rowOrder = inOrder(packed.length);
        rng.shuffle(rowOrder);
        int[][] out = new int[packed.length][];
        Arrays.setAll(out, i -> packed[rowOrder[i]]);
        return out;
    }

    private void group(int[] order) {
        int window = (int) Math.min(order.length, (long) GROUP * size);
        for (int from = 0; from < order.length; from += window) {
            int to = Math.min(order.length, from + window);
            int[] sorted = Arrays.stream(order, from, to)
                    .boxed()
                    .sorted(Comparator.comparingInt(data::length).reversed())
                    .mapToInt(Integer::intValue)
                    .toArray();
            System.arraycopy(sorted, 0, order, from, sorted.length);
        }
    }

    private Batch batch(int[][] batchRows) {
        int length = 0;
        for (int[] row : batchRows) {
            length = Math.max(length, Arrays.stream(row).map(data::length).sum());
        }
        int n = Math.multiplyExact(batchRows.length, length);
        Batch batch = new Batch(
                filled(n, data.padId()),
                filled(n, -1),
                filled(n, -1),
                new int[n],
                batchRows.length,
                length,
                names(batchRows));
        for (int r = 0; r < batchRows.length; r++) {
            int at = r * length;
            for (int segment = 0; segment < batchRows[r].length; segment++) {
                int piece = batchRows[r][segment];
                for (int t = 0; t < data.length(piece); t++, at++) {
                    batch.ids()[at] = data.id(piece, t);
                    batch.targets()[at] = data.target(piece, t);
                    batch.segments()[at] = segment;
                    batch.positions()[at] = t;
                }
            }
        }
        return batch;
    }

    private List<String> names(int[][] batchRows) {
        List<String> names = new ArrayList<>();
        for (int[] row : batchRows) {
            for (int piece : row) {
                names.add(data.name(piece));
            }
        }
        return names;
    }

    private static int[] filled(int n, int value) {
        int[] out = new int[n];
        Arrays.fill(out, value);
        return out;
    }
}
