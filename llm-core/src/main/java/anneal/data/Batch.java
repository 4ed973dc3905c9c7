package anneal.data;

import java.util.List;

/**
 * B rows of T tokens. All arrays are row-major [B * T].
 *
 * @param ids token ids; padding holds some valid id
 * @param targets the token to be said next, already shifted: {@code targets[t]} is learnt at {@code ids[t]}; -1 where
 *     nothing is trained
 * @param segments number of the sample within its row, from 0; tokens see only their own segment; -1 is padding
 * @param positions position within the segment, from 0; 0 at padding
 * @param batch B
 * @param length T
 * @param names of the samples, row by row, for error messages
 */
public record Batch(
        int[] ids, int[] targets, int[] segments, int[] positions, int batch, int length, List<String> names) {
    public Batch {
        int n = Math.multiplyExact(batch, length);
        if (ids.length != n || targets.length != n || segments.length != n || positions.length != n) {
            throw new IllegalArgumentException("Batch: ids [" + ids.length + "], targets [" + targets.length
                    + "], segments [" + segments.length + "] and positions [" + positions.length + "] must be [" + batch
                    + ", " + length + "]");
        }
        names = List.copyOf(names);
    }

    /** Number of tokens that are not padding. */
    public int tokens() {
        return count(segments);
    }

    /** Number of targets. */
    public int trainedTokens() {
        return count(targets);
    }

    private static int count(int[] values) {
        int n = 0;
        for (int v : values) {
            n += v >= 0 ? 1 : 0;
        }
        return n;
    }

    /** For messages: the size and the samples. */
    @Override
    public String toString() {
        return "batch [" + batch + ", " + length + "] of " + String.join(", ", names);
    }
}
