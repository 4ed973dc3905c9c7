package anneal.quant.calibrate;

import java.util.Arrays;

/** Cuts the tokens of a calibration text into pieces that a model can read. */
public final class Windows {
    private Windows() {}

    /**
     * {@code count} pieces of {@code length} tokens that do not overlap, spread evenly over the whole text: the same text gives the
     * same pieces. (GPTQ's and AWQ's own scripts draw places at random, which may overlap.)
     *
     * @throws IllegalArgumentException if the text is shorter than all pieces together
     */
    public static int[][] of(int[] ids, int count, int length) {
        if (count < 1 || length < 1) {
            throw new IllegalArgumentException(
                    "calibration: " + count + " windows of " + length + " tokens: both must be at least 1");
        }
        long needed = (long) count * length;
        if (ids.length < needed) {
            throw new IllegalArgumentException(
                    "calibration: the text has " + ids.length + " tokens, but " + count + " windows of " + length
                            + " need " + needed + ": give a longer text, or fewer or shorter windows");
        }
        int[][] windows = new int[count][];
        for (int i = 0; i < count; i++) {
            int from = count == 1 ? 0 : (int) ((long) i * (ids.length - length) / (count - 1));
            windows[i] = Arrays.copyOfRange(ids, from, from + length);
        }
        return windows;
    }
}
