package anneal.model;

import anneal.nn.Embedding;
import anneal.tensor.Ops;
import anneal.tensor.Tensor;
import java.util.Arrays;

/**
 * Where the tokens of one pass stand: behind the vectors of the input socket, a key/value prefix and what the cache holds.
 *
 * @param front vectors that each row starts with [P, D], or null
 * @param length tokens of a row, those in front included
 * @param keys that this pass adds to the cache: its own and the prefix
 * @param positions of each token [B * length]
 * @param querySegments of each token [B * length], or null
 * @param keySegments of each key, those of the cache included, or null
 */
record Frame(Tensor front, int length, int keys, int[] positions, int[] querySegments, int[] keySegments) {
    static Frame of(Tokens tokens, KvCache cache, Embedding.Plug plug, int prefix, int limit) {
        boolean start = cache == null || cache.length() == 0;
        int past = start ? prefix : cache.length(), always = prefix + plug.frontLength();
        Tensor front = start ? plug.front() : null; // may cost a network's pass
        int added = front == null ? 0 : front.dim(0);
        requireCache(tokens, cache);
        int[] positions = positions(tokens, past, added, always);
        requireInside(positions, limit);
        int[] own = segments(tokens, added);
        int[] with = start && own != null && prefix > 0 ? inFront(tokens, own, prefix) : own;
        int count = tokens.length() + added + (start ? prefix : 0);
        int[] keySegments = cache == null ? with : cache.segments(with, count);
        int length = tokens.length() + added;
        if (keySegments != null && own == null) {
            own = new int[tokens.batch() * length];
        }
        return new Frame(added == 0 ? null : front, length, count, positions, own, keySegments);
    }

    private static void requireCache(Tokens tokens, KvCache cache) {
        if (cache != null && cache.batch() != tokens.batch()) {
            throw new IllegalArgumentException(
                    "hidden: " + tokens.batch() + " rows of tokens for a cache of " + cache.batch());
        }
    }

    private static void requireInside(int[] positions, int limit) {
        int last = Arrays.stream(positions).max().orElse(0);
        int first = Arrays.stream(positions).min().orElse(0);
        if (first < 0) {
            throw new IllegalArgumentException("hidden: position " + first + " is negative");
        }
        if (limit > 0 && last >= limit) {
            throw new IllegalArgumentException("hidden: a sequence of " + (last + 1) + " tokens is longer than the "
                    + limit + " positions the model was made for");
        }
    }

    private static int[] positions(Tokens tokens, int past, int added, int always) {
        int length = tokens.length() + added;
        int[] p = new int[tokens.batch() * length];
        for (int b = 0; b < tokens.batch(); b++) {
            for (int t = 0; t < length; t++) {
                p[b * length + t] = tokens.positions() == null || t < added
                        ? past + t
                        : always + tokens.positions()[b * tokens.length() + t - added];
            }
        }
        return p;
    }

    /** Segments of the tokens and the vectors in front of them. */
    private static int[] segments(Tokens tokens, int added) {
        return tokens.segments() == null || added == 0 ? tokens.segments() : inFront(tokens, tokens.segments(), added);
    }

    /** Each row's one segment, in front of those of its tokens. */
    private static int[] inFront(Tokens tokens, int[] segments, int added) {
        int old = segments.length / tokens.batch(), length = old + added;
        int[] out = new int[tokens.batch() * length];
        for (int b = 0; b < tokens.batch(); b++) {
            int[] row = Arrays.copyOfRange(segments, b * old, (b + 1) * old);
            int[] used = Arrays.stream(row).filter(s -> s >= 0).distinct().toArray();
            if (used.length > 1) {
                throw new IllegalArgumentException("hidden: row " + b + " packs " + used.length
                        + " sequences, but vectors in front or a key/value prefix belong to one");
            }
            Arrays.fill(out, b * length, b * length + added, used.length == 0 ? -1 : used[0]);
            System.arraycopy(row, 0, out, b * length + added, old);
        }
        return out;
    }

    /** The rows of the tokens themselves: [B, P + T, D] -> [B, T, D]. */
    Tensor withoutFront(Tensor x) {
        if (front == null) {
            return x;
        }
        int batch = x.dim(0), added = front.dim(0), own = length - added;
        int[] rows = new int[batch * own];
        for (int i = 0; i < rows.length; i++) {
            rows[i] = i / own * length + added + i % own;
        }
        return Ops.rows(x.view(batch * length, x.rowSize()), rows).view(batch, own, x.rowSize());
    }
}
