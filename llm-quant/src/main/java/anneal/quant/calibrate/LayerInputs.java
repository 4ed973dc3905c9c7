package anneal.quant.calibrate;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import anneal.kernels.Kernels;
import anneal.kernels.Parallel;
import anneal.tensor.Memory;
import anneal.tensor.Rng;
import anneal.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * What was seen of the inputs x of a layer: rows are tokens, channels are the I input features.
 *
 * <p>Only sums, maxima and a bounded number of rows are kept, so memory does not grow with the text.
 */
public final class LayerInputs {
    /** Rows whose second moments are one product of floats; beyond, sums are of doubles. */
    private static final int CHUNK = 256;

    private final int channels;
    private final float[] maxAbs;
    private final double[] sumAbs;
    private final double[] moments;
    private final int capacity;
    private final Rng rng;
    private float[] samples;
    private long rows;

    LayerInputs(int channels, Calibration.Options options) {
        this.channels = channels;
        this.maxAbs = new float[channels];
        this.sumAbs = new double[channels];
        this.moments = options.moments() ? new double[Math.multiplyExact(channels, channels)] : null;
        this.capacity = options.samples();
        this.rng = new Rng(options.seed());
        this.samples = new float[0];
    }

    /** Measurements of rows that are there already: x [.., I]. */
    public static LayerInputs of(Tensor x, Calibration.Options options) {
        LayerInputs inputs = new LayerInputs(x.rowSize(), options);
        inputs.add(x, "x");
        return inputs;
    }

    // ---------------------------------------------------------------- what was seen

    /** I, the number of input features. */
    public int channels() {
        return channels;
    }

    /** Rows seen. */
    public long rows() {
        return rows;
    }

    /** max |x_j| of each channel [I]. */
    public float[] maxAbs() {
        return maxAbs.clone();
    }

    /** Mean of |x_j| of each channel [I]. */
    public float[] meanAbs() {
        float[] mean = new float[channels];
        for (int j = 0; j < channels; j++) {
            mean[j] = (float) (sumAbs[j] / rows);
        }
        return mean;
    }

    /**
     * Second moments: the sum of x_i x_j over rows, [I, I] in row-major order. Sums of up to {@value #CHUNK} rows are floats, which
     * are added up in double precision. A copy.
     *
     * @throws IllegalStateException if the calibration was not asked for them
     */
    public double[] moments() {
        if (moments == null) {
            throw new IllegalStateException(
                    "calibration: second moments were not collected; ask for them in the Options");
        }
        double[] full = moments.clone();
        for (int i = 0; i < channels; i++) {
            for (int j = 0; j < i; j++) {
                full[i * channels + j] = full[j * channels + i];
            }
        }
        return full;
    }

    /** Rows drawn from all that were seen, each with the same chance: [S, I], in the current scope. */
    public Tensor samples() {
        int kept = (int) Math.min(rows, capacity);
        return Tensor.of(Arrays.copyOf(samples, kept * channels), kept, channels);
    }

    // ---------------------------------------------------------------- collecting

    /** Adds the rows of x [.., I]. */
    void add(Tensor x, String path) {
        int count = x.rowCount();
        float[] row = new float[channels];
        for (int r = 0; r < count; r++) {
            MemorySegment.copy(x.buf(), JAVA_FLOAT, 4L * r * channels, row, 0, channels);
            sample(row);
            rows++;
            for (int j = 0; j < channels; j++) {
                float a = Math.abs(row[j]);
                if (!Float.isFinite(a)) {
                    throw new IllegalArgumentException("calibration: the input of " + path + " is " + row[j]
                            + " in channel " + j + ": it must be finite");
                }
                maxAbs[j] = Math.max(maxAbs[j], a);
                sumAbs[j] += a;
            }
        }
        for (int r = 0; moments != null && r < count; r += CHUNK) {
            addMoments(x, r, Math.min(CHUNK, count - r));
        }
    }

    /** moments += xT x of {@code count} rows, the upper half. */
    private void addMoments(Tensor x, int from, int count) {
        try (var _ = Memory.scope()) {
            MemorySegment some = x.buf().asSlice(4L * from * channels, 4L * count * channels);
            MemorySegment sums = Tensor.empty(channels, channels).buf();
            Kernels.get().matmulTN(sums, some, some, channels, channels, count, 1, false);
            Parallel.run(channels, i -> {
                for (int j = i; j < channels; j++) {
                    int at = i * channels + j;
                    moments[at] += sums.getAtIndex(JAVA_FLOAT, at);
                }
            });
        }
    }

    /** Reservoir sampling (Vitter's algorithm R): row number n replaces one of the S kept rows with chance S / n. */
    private void sample(float[] row) {
        if (capacity == 0) {
            return;
        }
        long place = rows < capacity ? rows : (long) (rng.nextDouble() * (rows + 1));
        if (place < capacity) {
            int at = (int) place * channels;
            if (samples.length < at + channels) {
                int rowsNow = Math.min(capacity, Math.max(16, 2 * samples.length / channels));
                samples = Arrays.copyOf(samples, Math.multiplyExact(rowsNow, channels));
            }
            System.arraycopy(row, 0, samples, at, channels);
        }
    }
}
