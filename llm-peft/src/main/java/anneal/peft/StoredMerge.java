package anneal.peft;

import anneal.nn.Weight;
import java.lang.foreign.Arena;

/**
 * A merged matrix in the storage that its base has.
 *
 * @param weight what stands in the model from now on
 * @param layer what that did to the update
 */
record StoredMerge(Weight weight, MergeReport.Layer layer) {
    /**
     * Rounds a merged matrix as the base is rounded. A base that did not change stays as it is: blocks that were made by a search are not
     * always found again.
     *
     * @param exact the merged matrix as floats
     */
    static StoredMerge of(String path, Weight base, Weight exact) {
        double update = distance(exact, base);
        if (update == 0) {
            return new StoredMerge(base, new MergeReport.Layer(path, base.format(), false, 0));
        }
        Weight written = base.like(exact.matrix(), Arena.ofAuto()).orElse(null);
        double error = written == null ? 0 : distance(written, exact) / update;
        return new StoredMerge(
                written == null ? exact : written, new MergeReport.Layer(path, base.format(), written == null, error));
    }

    /** Frobenius norm of the difference. */
    private static double distance(Weight a, Weight b) {
        int columns = a.in();
        float[] x = new float[columns], y = new float[columns];
        double sum = 0;
        for (int row = 0; row < a.out(); row++) {
            a.row(row, x);
            b.row(row, y);
            for (int i = 0; i < columns; i++) {
                double d = (double) x[i] - y[i];
                sum += d * d;
            }
        }
        return Math.sqrt(sum);
    }
}
