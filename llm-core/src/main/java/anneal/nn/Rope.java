package anneal.nn;

import anneal.kernels.Kernels;
import anneal.tensor.Ops;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Rotary position embedding: the angles of each position, and the turn. Su et al., arXiv:2104.09864.
 *
 * <p>Pair (a, b) of channels at position p becomes (a cos pf - b sin pf, b cos pf + a sin pf), f the pair's frequency. Angles are
 * computed in double precision, once a position, and kept.
 */
public final class Rope {
    /** Cosine and sine of some tokens, both [tokens, rotary / 2]. */
    public record Angles(Tensor cos, Tensor sin) {}

    /** The angles of positions 0, 1, .. that were asked for so far. */
    private record Table(Tensor cos, Tensor sin, int rows) {}

    private final int headDim;
    private final int rotary;
    private final double theta;
    private final RopeScaling scaling;
    private final boolean interleaved;
    private Table table;

    /**
     * A rotation with nothing computed yet.
     *
     * @param headDim channels of a head
     * @param rotary how many of them turn, from the first
     * @param theta base of the frequencies
     * @param interleaved pairs are neighbours (2i, 2i+1) instead of (i, i + rotary / 2)
     */
    public Rope(int headDim, int rotary, double theta, RopeScaling scaling, boolean interleaved) {
        if (rotary < 2 || rotary % 2 != 0 || rotary > headDim) {
            throw new IllegalArgumentException("rope: " + rotary + " rotated channels must be even and between 2 and "
                    + headDim + ", the head size");
        }
        if (!(theta > 0)) {
            throw new IllegalArgumentException("rope: theta " + theta + " must be positive");
        }
        this.headDim = headDim;
        this.rotary = rotary;
        this.theta = theta;
        this.scaling = scaling;
        this.interleaved = interleaved;
    }

    /** Cosine and sine of tokens at these positions, in the current scope. */
    public Angles angles(int[] positions) {
        int length = 0;
        for (int p : positions) {
            length = Math.max(length, p + 1);
        }
        Table t = scaling.dependsOnLength() ? compute(length) : upTo(length);
        return new Angles(gather(t.cos, positions), gather(t.sin, positions));
    }

    private Tensor gather(Tensor table, int[] positions) {
        int pairs = rotary / 2;
        Tensor out = Tensor.empty(positions.length, pairs);
        for (int i = 0; i < positions.length; i++) {
            MemorySegment.copy(table.buf(), 4L * positions[i] * pairs, out.buf(), 4L * i * pairs, 4L * pairs);
        }
        return out;
    }

    private synchronized Table upTo(int length) {
        if (table == null || table.rows < length) {
            table = compute(table == null ? length : Math.max(length, Math.min(2 * table.rows, length + 4096)));
        }
        return table;
    }

    private Table compute(int length) {
        int pairs = rotary / 2;
        double[] f = scaling.frequencies(rotary, theta, length);
        float[] cos = new float[length * pairs], sin = new float[length * pairs];
        for (int p = 0; p < length; p++) {
            for (int i = 0; i < pairs; i++) {
                cos[p * pairs + i] = (float) (Math.cos(p * f[i]) * scaling.magnitude());
                sin[p * pairs + i] = (float) (Math.sin(p * f[i]) * scaling.magnitude());
            }
        }
        return new Table(keep(cos, length), keep(sin, length), length);
    }

    private static Tensor keep(float[] values, int rows) {
        Tensor t = Tensor.allocate(Arena.ofAuto(), Shape.of(rows, values.length / Math.max(1, rows)));
        t.set(values);
        return t;
    }

    /** Turns queries or keys in place. Shapes: x [tokens, heads K]. */
    public Tensor turn(Tensor x, Angles angles) {
        int tokens = angles.cos.dim(0);
        int heads = Math.toIntExact(x.size() / tokens / headDim);
        return Ops.ropeInPlace(
                x, angles.cos, angles.sin, new Kernels.Rope(tokens, heads, headDim, rotary, interleaved));
    }
}
