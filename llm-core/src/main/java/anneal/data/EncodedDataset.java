package anneal.data;

import anneal.tensor.Rng;
import anneal.text.Encoded;
import java.util.Arrays;
import java.util.function.Function;

/**
 * Encoded samples, ready to be put into rows. Immutable; the tokens lie outside the heap.
 *
 * <p>A piece is what stands in a row as one segment: a sample, the kept part of a truncated one, or a part of one that was
 * cut up.
 */
public final class EncodedDataset {
    private final TokenStore store;
    private final String[] names;
    private final int padId;
    private final Pieces pieces;

    /**
     * Parallel arrays, one entry a piece.
     *
     * @param sample index of the sample's name
     * @param start first token in the store
     * @param length number of tokens
     * @param continues true if the token after the piece is its last token's target
     */
    private record Pieces(int[] sample, long[] start, int[] length, boolean[] continues) {
        Pieces(int capacity) {
            this(new int[capacity], new long[capacity], new int[capacity], new boolean[capacity]);
        }

        void set(int i, Pieces from, int j) {
            sample[i] = from.sample[j];
            start[i] = from.start[j];
            length[i] = from.length[j];
            continues[i] = from.continues[j];
        }

        Pieces resized(int n) {
            return new Pieces(
                    Arrays.copyOf(sample, n),
                    Arrays.copyOf(start, n),
                    Arrays.copyOf(length, n),
                    Arrays.copyOf(continues, n));
        }

        int count() {
            return sample.length;
        }
    }

    private EncodedDataset(TokenStore store, String[] names, int padId, Pieces pieces) {
        this.store = store;
        this.names = names;
        this.padId = padId;
        this.pieces = pieces;
    }

    /**
     * Encodes every sample.
     *
     * @param encoder from a sample to its ids and mask
     * @param padId fills short rows; any valid id
     */
    public static EncodedDataset of(Iterable<? extends Sample> samples, Function<Sample, Encoded> encoder, int padId) {
        try (TokenStore.Writer writer = new TokenStore.Writer()) {
            Pieces pieces = new Pieces(1024);
            String[] names = new String[1024];
            int n = 0;
            for (Sample sample : samples) {
                Encoded encoded = encoder.apply(sample);
                if (n == names.length) {
                    pieces = pieces.resized(2 * n);
                    names = Arrays.copyOf(names, 2 * n);
                }
                names[n] = sample.name();
                pieces.sample[n] = n;
                pieces.start[n] = writer.add(encoded);
                pieces.length[n] = encoded.length();
                n++;
            }
            return new EncodedDataset(writer.finish(), Arrays.copyOf(names, n), padId, pieces.resized(n));
        }
    }

    /** Number of samples, or of pieces once they were cut up. */
    public int size() {
        return pieces.count();
    }

    /** Number of tokens. */
    public long tokens() {
        return Arrays.stream(pieces.length).asLongStream().sum();
    }

    /** Number of tokens that are the target of another. */
    public long trainedTokens() {
        long n = 0;
        for (int i = 0; i < size(); i++) {
            n += trainedTokens(i);
        }
        return n;
    }

    private int trainedTokens(int piece) {
        int n = 0;
        for (int t = 0; t < pieces.length[piece]; t++) {
            n += target(piece, t) >= 0 ? 1 : 0;
        }
        return n;
    }

    /** Length of the longest sample. */
    public int longest() {
        return Arrays.stream(pieces.length).max().orElse(0);
    }

    String name(int piece) {
        return names[pieces.sample[piece]];
    }

    int length(int piece) {
        return pieces.length[piece];
    }

    int[] lengths() {
        return pieces.length.clone();
    }

    int id(int piece, int t) {
        return store.id(pieces.start[piece] + t);
    }

    /** The token to be said after token {@code t}, or -1 if it is not trained. */
    int target(int piece, int t) {
        boolean has = t + 1 < pieces.length[piece] || pieces.continues[piece];
        long next = pieces.start[piece] + t + 1;
        return has && store.trained(next) ? store.id(next) : -1;
    }

    int padId() {
        return padId;
    }

    /** The same; a sample longer than {@code length} is an error that names it. */
    public EncodedDataset requireAtMost(int length) {
        positive(length);
        for (int i = 0; i < size(); i++) {
            if (pieces.length[i] > length) {
                throw new IllegalArgumentException(name(i) + ": has " + pieces.length[i]
                        + " tokens, more than the maximum length " + length + "; truncate or cut up long samples");
            }
        }
        return this;
    }

    /** Only the first {@code length} tokens of each sample; an error if no trained token is left of one. */
    public EncodedDataset truncate(int length) {
        positive(length);
        Pieces cut = pieces.resized(size());
        for (int i = 0; i < size(); i++) {
            cut.length[i] = Math.min(length, pieces.length[i]);
            cut.continues[i] &= cut.length[i] == pieces.length[i];
        }
        EncodedDataset out = new EncodedDataset(store, names, padId, cut);
        for (int i = 0; i < size(); i++) {
            if (cut.length[i] < pieces.length[i] && out.trainedTokens(i) == 0) {
                throw new IllegalArgumentException(
                        name(i) + ": no trained token is left of " + pieces.length[i] + " when truncated to " + length);
            }
        }
        return out;
    }

    /**
     * Samples cut into pieces of at most {@code length} tokens. The first token of each next piece stays the target of the
     * last one before it, so every token is learnt exactly once, with less before it.
     */
    public EncodedDataset cut(int length) {
        positive(length);
        long count = 0;
        for (int n : pieces.length) {
            count += Math.ceilDiv(n, length);
        }
        Pieces out = new Pieces(Math.toIntExact(count));
        int at = 0;
        for (int i = 0; i < size(); i++) {
            for (int from = 0; from < pieces.length[i]; from += length, at++) {
                boolean last = pieces.length[i] - from <= length;
                out.set(at, pieces, i);
                out.start[at] += from;
                out.length[at] = last ? pieces.length[i] - from : length;
                out.continues[at] |= !last;
            }
        }
        return new EncodedDataset(store, names, padId, out);
    }

    /** A training and a validation part. */
    public record Split(EncodedDataset train, EncodedDataset validation) {}

    /**
     * A random part of the samples for validation; which depends on the seed and the number of samples only. Pieces of one
     * sample would end up on both sides, so this comes before {@link #cut}.
     *
     * @param fraction in (0, 1); at least one sample stands on each side
     */
    public Split split(double fraction, long seed) {
        int n = size();
        if (!(fraction > 0 && fraction < 1) || n < 2) {
            throw new IllegalArgumentException("split: fraction " + fraction + " of " + n
                    + " samples must be between 0 and 1 and leave a sample on each side");
        }
        for (boolean continues : pieces.continues) {
            if (continues) {
                throw new IllegalArgumentException("split: must come before samples are cut up");
            }
        }
        int held = (int) Math.clamp(Math.round(n * fraction), 1, n - 1);
        int[] order = new int[n];
        Arrays.setAll(order, i -> i);
        new Rng(seed).shuffle(order);
        int[] validation = Arrays.copyOf(order, held);
        int[] train = Arrays.copyOfRange(order, held, n);
        Arrays.sort(validation);
        Arrays.sort(train);
        return new Split(subset(train), subset(validation));
    }

    private EncodedDataset subset(int[] which) {
        Pieces out = new Pieces(which.length);
        for (int i = 0; i < which.length; i++) {
            out.set(i, pieces, which[i]);
        }
        return new EncodedDataset(store, names, padId, out);
    }

    /**
     * Rows of at most {@code length} tokens, several samples in each where they fit (best-fit decreasing). Samples in a row
     * do not see one another: each is a segment of its own, and positions begin again. A longer sample is an error that names
     * it, see {@link #truncate} and {@link #cut}.
     */
    public Batches pack(int length) {
        requireAtMost(length);
        return Batches.of(this, new Rows.BestFit(length));
    }

    /**
     * Rows of exactly {@code length} tokens, the last one excepted: samples in their order, cut where a row ends. Samples are
     * segments of their own as in {@link #pack}.
     */
    public Batches wrap(int length) {
        positive(length);
        long[] ends = new long[size()];
        long total = 0;
        int more = 0;
        for (int i = 0; i < size(); i++) {
            more += (int) ((total + pieces.length[i] - 1) / length - total / length);
            total += pieces.length[i];
            ends[i] = total;
        }
        Pieces out = new Pieces(size() + more);
        int at = 0;
        for (int i = 0; i < size(); i++) {
            long begin = ends[i] - pieces.length[i];
            for (long from = begin; from < ends[i]; at++) {
                long to = Math.min(ends[i], (from / length + 1) * length);
                out.set(at, pieces, i);
                out.start[at] += from - begin;
                out.length[at] = (int) (to - from);
                out.continues[at] |= to < ends[i];
                from = to;
            }
        }
        return Batches.of(new EncodedDataset(store, names, padId, out), new Rows.InOrder(length));
    }

    /** One sample a row, filled up to the longest of its batch. */
    public Batches pad() {
        return Batches.of(this, new Rows.OneEach());
    }

    private static void positive(int length) {
        if (length < 1) {
            throw new IllegalArgumentException("maximum length " + length + " must be positive");
        }
    }
}
