package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Steps of Adam and Lion whose moments lie in memory as one byte a number: a quarter of the state. Dettmers et al., arXiv:2110.02861.
 *
 * <p>A piece of the moments is widened, {@link Kernels#adam} or {@link Kernels#lion} moves the parameters with it, and the new moments
 * become bytes again before anybody looks at the next piece, so the parameters feel the moments of this step as floats.
 */
public final class BlockwiseUpdates {
    /** Numbers that share a scale; bitsandbytes' blockwise optimisers have the same. */
    public static final int BLOCK = 256;

    /** Numbers that are widened at a time: the moments stay in the first cache. */
    private static final int PIECE = 8 * BLOCK;

    /** Pieces of a task. */
    private static final int TASK = 8;

    private static final Workspaces<Buffers> BUFFERS = new Workspaces<>(Buffers::new);

    private BlockwiseUpdates() {}

    /**
     * A moment.
     *
     * @param map what its bytes stand for
     * @param codes a byte a number
     * @param scales a float for each {@link #BLOCK} numbers
     */
    public record Moment(DynamicMap map, MemorySegment codes, MemorySegment scales) {
        private void widen(long from, int count, MemorySegment to, Buffers b) {
            MemorySegment.copy(codes, JAVA_BYTE, from, b.codes, 0, count);
            for (int at = 0; at < count; at += BLOCK) {
                float scale = scales.getAtIndex(JAVA_FLOAT, (from + at) / BLOCK);
                map.dequantize(b.codes, at, Math.min(BLOCK, count - at), scale, b.floats, at);
            }
            MemorySegment.copy(b.floats, 0, to, JAVA_FLOAT, 0, count);
        }

        private void narrow(long from, int count, MemorySegment of, Buffers b) {
            MemorySegment.copy(of, JAVA_FLOAT, 0, b.floats, 0, count);
            for (int at = 0; at < count; at += BLOCK) {
                float scale = map.quantize(b.floats, at, Math.min(BLOCK, count - at), b.codes, at);
                scales.setAtIndex(JAVA_FLOAT, (from + at) / BLOCK, scale);
            }
            MemorySegment.copy(b.codes, 0, codes, JAVA_BYTE, from, count);
        }
    }

    /** What a thread works in. */
    private static final class Buffers {
        final byte[] codes = new byte[PIECE];
        final float[] floats = new float[PIECE];
        final MemorySegment mean = floats();
        final MemorySegment square = floats();

        private static MemorySegment floats() {
            return Arena.ofAuto().allocate(4L * PIECE, 64);
        }
    }

    /** {@link Kernels#adam} of n parameters p with gradients g. */
    public static void adam(MemorySegment p, MemorySegment g, Moment mean, Moment square, long n, Kernels.Adam s) {
        byPieces(n, (from, count, b) -> {
            mean.widen(from, count, b.mean, b);
            square.widen(from, count, b.square, b);
            Kernels.get().adam(part(p, from, count), part(g, from, count), b.mean, b.square, count, s);
            mean.narrow(from, count, b.mean, b);
            square.narrow(from, count, b.square, b);
        });
    }

    /** {@link Kernels#lion} of n parameters p with gradients g. */
    public static void lion(MemorySegment p, MemorySegment g, Moment mean, long n, Kernels.Lion s) {
        byPieces(n, (from, count, b) -> {
            mean.widen(from, count, b.mean, b);
            Kernels.get().lion(part(p, from, count), part(g, from, count), b.mean, count, s);
            mean.narrow(from, count, b.mean, b);
        });
    }

    private interface Piece {
        void move(long from, int count, Buffers b);
    }

    private static void byPieces(long n, Piece piece) {
        int size = TASK * PIECE;
        Parallel.run(
                Math.toIntExact(Math.ceilDiv(n, size)),
                task -> BUFFERS.use(b -> {
                    long end = Math.min(n, (task + 1L) * size);
                    for (long from = (long) task * size; from < end; from += PIECE) {
                        piece.move(from, (int) Math.min(PIECE, end - from), b);
                    }
                }));
    }

    private static MemorySegment part(MemorySegment floats, long from, int count) {
        return floats.asSlice(4 * from, 4L * count);
    }
}
