package anneal.quant.post;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import anneal.kernels.Kernels;
import anneal.kernels.Matrix;
import anneal.kernels.Parallel;
import anneal.nn.FolderForm;
import anneal.nn.Stored;
import anneal.nn.Weight;
import anneal.tensor.Ops;
import anneal.tensor.ShapeException;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Optional;

/**
 * A weight whose product is one of integers: 8-bit inputs times signed 8- or 4-bit weights, summed exactly, scaled once.
 *
 * <pre>
 * x' = clamp(round(x / a), -127, 127)         a: scale of the token, or of the tensor
 * y  = sum over groups g of  a b_g (x'_g w'_gT)     b_g: scale of the row's group; one group is the whole row unless told otherwise
 * </pre>
 *
 * <p>Weights of 4 bits (W4A8), and groups of a row, are widened to bytes once, which stay beside the matrix: a byte a weight. Gradient: dx = dy W with the rounding of x taken as the identity
 * (straight-through); the weight is not trained. Shapes: x [.., in] -> [.., out].
 */
public final class W8A8Linear implements Weight {
    private static final Kernels K = Kernels.get();

    private static final int LARGEST = 127;

    /** Rows of a task. */
    private static final int ROWS = 8;

    /** The least activation scale, as in the reference code of SmoothQuant. */
    private static final float LEAST = 1e-8f;

    private final UniformMatrix matrix;
    private final ActivationScale activations;
    private final float fixed;
    private final int size;
    /** The signed codes [out, in] if they can be multiplied where they lie: 8 bits, one group. */
    private final MemorySegment bytes;
    /** The codes as products read them: group by group, [groups, out, size]. */
    private final MemorySegment signed;

    /**
     * A weight for integer products.
     *
     * @param w on a symmetric grid
     * @param activations how inputs are scaled
     * @param largest max|x| of calibration for {@link ActivationScale#STATIC}, else 0
     */
    public W8A8Linear(UniformMatrix w, ActivationScale activations, float largest) {
        this(w, activations, largest, Math.max(LEAST, largest / LARGEST));
    }

    /** With the scale {@code a} of a static input itself, as a file holds it: a division would change its last bit; else it does not matter. */
    static W8A8Linear stored(UniformMatrix w, ActivationScale activations, float a) {
        return new W8A8Linear(w, activations, activations == ActivationScale.STATIC ? a * LARGEST : 0, a);
    }

    private W8A8Linear(UniformMatrix w, ActivationScale activations, float largest, float fixed) {
        if (!w.grid().symmetric()) {
            throw new IllegalArgumentException("W8A8: the grid " + w.grid() + " must be symmetric");
        }
        if ((activations == ActivationScale.STATIC) != (largest > 0)) {
            throw new IllegalArgumentException("W8A8: " + activations + " activations and a largest input of " + largest
                    + ": a static scale needs one, a dynamic one takes its own");
        }
        this.matrix = w;
        this.activations = activations;
        this.fixed = fixed;
        this.size = w.grid().groupSize(w.cols());
        this.bytes = w.groups() == 1 ? w.signedBytes() : null;
        if (w.groups() > 1 && size % w.block() != 0) {
            throw new IllegalArgumentException(
                    "W8A8: groups of " + size + " columns must be multiples of " + w.block());
        }
        this.signed = bytes != null ? bytes : gathered();
    }

    /** W rounded to a symmetric grid of 8 bits a row, for inputs with dynamic scales. */
    public static W8A8Linear of(Matrix w, ActivationScale activations) {
        return new W8A8Linear(Rounding.nearest(w, Grid.bits(8).symmetrical()), activations, 0);
    }

    /** Signed codes [groups, out, size]. A row at a time: what a task writes to has its place in each group. */
    private MemorySegment gathered() {
        int zero = 1 << matrix.grid().bits() - 1;
        MemorySegment to = Arena.ofAuto().allocate(Math.max(1, (long) out() * in()), 64);
        Parallel.run(out(), i -> {
            int[] codes = matrix.codes(i);
            byte[] row = new byte[codes.length];
            for (int j = 0; j < row.length; j++) {
                row[j] = (byte) (codes[j] - zero);
            }
            for (int g = 0; g < matrix.groups(); g++) {
                MemorySegment.copy(row, g * size, to, JAVA_BYTE, ((long) g * out() + i) * size, size);
            }
        });
        return to;
    }

    @Override
    public int out() {
        return matrix.rows();
    }

    @Override
    public int in() {
        return matrix.cols();
    }

    /** How inputs are scaled. */
    public ActivationScale activations() {
        return activations;
    }

    @Override
    public Tensor matmulT(Tensor x) {
        if (x.rowSize() != in()) {
            throw new ShapeException("matmulT: x " + x.shape() + " does not fit weight [" + out() + ", " + in()
                    + "]: x's last dim " + x.rowSize() + " must equal " + in());
        }
        int m = x.rowCount(), groups = matrix.groups();
        Tensor y = Tensor.empty(x.shape().withLast(out()));
        Tensor scales = Tensor.empty(m);
        MemorySegment codes = scratch((long) m * in());
        quantise(x, codes, scales);
        Tensor sums = groups == 1 ? y : Tensor.like(y);
        for (int g = 0; g < groups; g++) {
            MemorySegment part = codes.asSlice((long) g * m * size, (long) m * size);
            MemorySegment w = signed.asSlice((long) g * out() * size, (long) out() * size);
            K.matmulTInt8(sums.buf(), part, w, m, out(), size);
            rescale(y, sums, scales, g);
        }
        return Tape.record(y, () -> gradient(x, y), x);
    }

    private static MemorySegment scratch(long bytes) {
        return Tensor.empty(Math.toIntExact((bytes + 3) / 4)).buf();
    }

    private void gradient(Tensor x, Tensor y) {
        boolean add = x.hasGrad();
        K.matmul(x.gradSlot(), y.gradBuf(), matrix, x.rowCount(), 1f, add);
    }

    /** Signed codes of x group by group, [groups, m, size], and the scale of each row [m]. */
    private void quantise(Tensor x, MemorySegment codes, Tensor scales) {
        int m = x.rowCount(), in = in();
        float shared = switch (activations) {
            case STATIC -> fixed;
            case PER_TENSOR -> scale(largest(x));
            case PER_TOKEN -> 0;
        };
        byRows(x, (r, row) -> {
            float scale = activations == ActivationScale.PER_TOKEN ? scale(row) : shared;
            scales.buf().setAtIndex(JAVA_FLOAT, r, scale);
            byte[] rounded = new byte[in];
            for (int j = 0; j < in; j++) {
                rounded[j] = (byte) code(row[j] / scale);
            }
            for (int g = 0; g < in / size; g++) {
                MemorySegment.copy(rounded, g * size, codes, JAVA_BYTE, ((long) g * m + r) * size, size);
            }
        });
    }

    /** What is done with a row of numbers, which are a copy. */
    interface Row {
        void run(int r, float[] row);
    }

    /** The rows of x, some to a task. A loop over an array of floats is one that the JIT makes vectors of. */
    static void byRows(Tensor x, Row some) {
        int rows = x.rowCount(), size = x.rowSize();
        Parallel.run(Math.ceilDiv(rows, ROWS), task -> {
            float[] row = new float[size];
            for (int r = task * ROWS; r < Math.min(rows, (task + 1) * ROWS); r++) {
                MemorySegment.copy(x.buf(), JAVA_FLOAT, 4L * r * size, row, 0, size);
                some.run(r, row);
            }
        });
    }

    /** clamp(round(q), -127, 127), halves to even as {@link Math#rint}: adding 1.5 2^23 leaves no room for a fraction. */
    static float code(float q) {
        return Math.min(LARGEST, Math.max(-LARGEST, q)) + 0x1.8p23f - 0x1.8p23f;
    }

    /** The scale that makes the largest number of a row 127. */
    static float scale(float[] row) {
        return scale(finite(largest(row)));
    }

    private static float scale(float largest) {
        return Math.max(LEAST, largest / LARGEST);
    }

    private static float largest(Tensor x) {
        float[] most = new float[x.rowCount()];
        byRows(x, (r, row) -> most[r] = largest(row));
        return finite(largest(most));
    }

    private static float largest(float[] x) {
        float most = 0;
        for (float v : x) {
            most = Math.max(most, Math.abs(v));
        }
        return most;
    }

    private static float finite(float largest) {
        if (!Float.isFinite(largest)) {
            throw new IllegalArgumentException("W8A8: an input is not finite: it has no 8-bit scale");
        }
        return largest;
    }

    /** y (+)= sums scale_row scale_group; the sums are integers and may lie in y's own memory. */
    private void rescale(Tensor y, Tensor sums, Tensor scales, int group) {
        int out = out();
        float[] b = new float[out];
        for (int i = 0; i < out; i++) {
            b[i] = matrix.step(i, group).scale();
        }
        byRows(y, (r, row) -> {
            int[] whole = new int[out];
            MemorySegment.copy(sums.buf(), JAVA_INT, 4L * r * out, whole, 0, out);
            addScaled(row, whole, scales.get(r), b, group > 0);
            MemorySegment.copy(row, 0, y.buf(), JAVA_FLOAT, 4L * r * out, out);
        });
    }

    private static void addScaled(float[] y, int[] sums, float a, float[] b, boolean add) {
        for (int i = 0; i < y.length; i++) {
            float part = sums[i] * (a * b[i]);
            y[i] = add ? y[i] + part : part;
        }
    }

    @Override
    public Tensor rows(int[] ids) {
        return Ops.embedding(matrix, ids);
    }

    @Override
    public Matrix matrix() {
        return matrix;
    }

    /** To nearest on a new grid of the same kind, with the activation scales as they are. */
    @Override
    public Optional<Weight> like(Matrix numbers, Arena arena) {
        return Optional.of(stored(Rounding.nearest(numbers, matrix.grid()), activations, fixed));
    }

    @Override
    public Optional<Tensor> parameter() {
        return Optional.empty();
    }

    /** The codes as GGUF blocks if the grid is that of a format; that inputs are rounded too is no part of a file. */
    @Override
    public Optional<Stored> blocks() {
        return matrix.blocks();
    }

    /** compressed-tensors' integers: bytes for 8 bits with one scale a row, else packed; none if the matrix has one scale. */
    @Override
    public Optional<FolderForm> folderForm() {
        return CompressedTensors.form(matrix, bytes, new CompressedTensors.Inputs(activations, fixed));
    }

    /** "W8A8", "W4A8 g64": bits of weights and activations, and the columns that share a scale. */
    @Override
    public String format() {
        int group = matrix.grid().group();
        return "W" + matrix.grid().bits() + "A8" + (group > 0 ? " g" + group : "");
    }
}
