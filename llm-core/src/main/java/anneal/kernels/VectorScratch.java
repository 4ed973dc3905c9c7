package anneal.kernels;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Arrays that a thread uses again and again while it packs and multiplies; they grow to the largest size asked for. */
final class VectorScratch {
    private static final ThreadLocal<VectorScratch> MINE = ThreadLocal.withInitial(VectorScratch::new);

    private float[] shared = {}, strips = {}, piece = {};
    private byte[] raw = {};
    private MemorySegment result = MemorySegment.NULL, tiles = MemorySegment.NULL;
    final float[] sums = new float[VectorTile.ROWS * VectorTile.COLS];

    private VectorScratch() {}

    static VectorScratch mine() {
        return MINE.get();
    }

    /** The packed left operand; filled and read by all threads of one product, owned by the thread that called it. */
    float[] shared(int length) {
        return shared.length >= length ? shared : (shared = new float[length]);
    }

    /** The packed right block of one task. */
    float[] strips(int length) {
        return strips.length >= length ? strips : (strips = new float[length]);
    }

    /** Widened numbers on their way into a packed operand. */
    float[] piece(int length) {
        return piece.length >= length ? piece : (piece = new float[length]);
    }

    /** A product on its way into its place. */
    MemorySegment result(long bytes) {
        return result.byteSize() >= bytes ? result : (result = Arena.ofAuto().allocate(bytes, 64));
    }

    /** Panels and tiles of one task of attention. */
    MemorySegment tiles(long bytes) {
        return tiles.byteSize() >= bytes ? tiles : (tiles = Arena.ofAuto().allocate(bytes, 64));
    }

    /** Bytes of a file on their way to being widened. */
    byte[] raw(int length) {
        return raw.length >= length ? raw : (raw = new byte[length]);
    }
}
