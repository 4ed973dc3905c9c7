package anneal.quant;

import java.util.Arrays;
import java.util.BitSet;
import java.util.Comparator;
import java.util.stream.IntStream;

/**
 * Which numbers of a matrix [rows, cols] stay when it is pruned: those with the highest scores.
 *
 * <p>Scores are row-major, rows * cols of them: |w| for magnitude, |w| times the norm of the input for Wanda; see {@link Pruning}.
 */
public final class Mask {
    private final int rows;
    private final int cols;
    private final BitSet kept;

    private Mask(int rows, int cols, BitSet kept) {
        this.rows = rows;
        this.cols = cols;
        this.kept = kept;
    }

    /** Keeps what scores above the threshold. Shapes: scores [rows, cols]. */
    public static Mask above(float[] scores, int cols, float threshold) {
        BitSet kept = new BitSet(scores.length);
        for (int i = 0; i < scores.length; i++) {
            kept.set(i, scores[i] > threshold);
        }
        return new Mask(scores.length / cols, cols, kept);
    }

    /** Keeps what is not 0. Shapes: numbers [rows, cols]. */
    static Mask ofZeros(float[] numbers, int cols) {
        BitSet kept = new BitSet(numbers.length);
        for (int i = 0; i < numbers.length; i++) {
            kept.set(i, numbers[i] != 0);
        }
        return new Mask(numbers.length / cols, cols, kept);
    }

    /** How many numbers are dropped. */
    public long dropped() {
        return (long) rows * cols - kept.cardinality();
    }

    /**
     * The score of which this part of all lies at or below: the k-th smallest with k = floor(sparsity n), and less than any
     * score if k = 0.
     */
    public static float threshold(float[] scores, double sparsity) {
        int k = (int) (sparsity * scores.length);
        if (k == 0) {
            return Float.NEGATIVE_INFINITY;
        }
        float[] sorted = scores.clone();
        Arrays.sort(sorted);
        return sorted[k - 1];
    }

    /** Drops the lowest floor(sparsity cols) of each row; of equal ones the first go. */
    public static Mask byRow(float[] scores, int cols, double sparsity) {
        int dropped = (int) (sparsity * cols);
        return lowest(scores, cols, cols, dropped, false);
    }

    /** Keeps the n highest of each m neighbours in a row; of equal ones the first stay. NVIDIA's 2:4: Mishra et al., arXiv:2104.08378. */
    public static Mask nOfM(float[] scores, int cols, int n, int m) {
        if (cols % m != 0) {
            throw new IllegalArgumentException("prune: rows of " + cols + " numbers are no whole groups of " + m);
        }
        return lowest(scores, cols, m, m - n, true);
    }

    /** Drops the {@code dropped} lowest of each group. */
    private static Mask lowest(float[] scores, int cols, int group, int dropped, boolean lastFirst) {
        BitSet kept = new BitSet(scores.length);
        kept.set(0, scores.length);
        Integer[] order = new Integer[group];
        for (int from = 0; from < scores.length; from += group) {
            int at = from;
            Arrays.setAll(order, i -> at + (lastFirst ? group - 1 - i : i));
            Arrays.sort(order, Comparator.comparingDouble(i -> scores[i]));
            for (int i = 0; i < dropped; i++) {
                kept.clear(order[i]);
            }
        }
        return new Mask(scores.length / cols, cols, kept);
    }

    /** True if the number stays. */
    public boolean kept(int row, int col) {
        return kept.get(row * cols + col);
    }

    /** The part that is dropped. */
    public double sparsity() {
        return 1 - kept.cardinality() / ((double) rows * cols);
    }

    int rows() {
        return rows;
    }

    int cols() {
        return cols;
    }

    /** 1 where a number stays, else 0, row-major. */
    float[] ones() {
        float[] ones = new float[rows * cols];
        IntStream.range(0, ones.length).filter(kept::get).forEach(i -> ones[i] = 1);
        return ones;
    }
}
