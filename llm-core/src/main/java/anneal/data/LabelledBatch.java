package anneal.data;

import java.util.Arrays;
import java.util.List;

/**
 * B texts of up to T tokens, each with a label.
 *
 * @param ids token ids, row-major [B * T], rows filled up behind with the padding id
 * @param labels one a row, from 0 [B]
 * @param batch B
 * @param length T
 */
public record LabelledBatch(int[] ids, int[] labels, int batch, int length) {
    public LabelledBatch {
        if (ids.length != Math.multiplyExact(batch, length) || labels.length != batch) {
            throw new IllegalArgumentException("LabelledBatch: ids [" + ids.length + "] must be [" + batch + ", "
                    + length + "] and labels [" + labels.length + "] must be [" + batch + "]");
        }
    }

    /** Texts of any lengths, filled up behind with {@code padding}. */
    public static LabelledBatch of(List<int[]> texts, int[] labels, int padding) {
        int length = texts.stream().mapToInt(t -> t.length).max().orElse(0);
        int[] ids = new int[Math.multiplyExact(texts.size(), length)];
        Arrays.fill(ids, padding);
        for (int i = 0; i < texts.size(); i++) {
            if (texts.get(i).length == 0) {
                throw new IllegalArgumentException("LabelledBatch: text " + i + " has no tokens");
            }
            System.arraycopy(texts.get(i), 0, ids, i * length, texts.get(i).length);
        }
        return new LabelledBatch(ids, labels, texts.size(), length);
    }

    /** For messages. */
    @Override
    public String toString() {
        return "batch [" + batch + ", " + length + "] with labels " + Arrays.toString(labels);
    }
}
