package anneal.kernels;

import anneal.kernels.emit.BlockProduct;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Off-heap memory that a thread uses again and again for emitted code; it grows to the largest size asked for. */
final class EmittedScratch {
    private static final ThreadLocal<EmittedScratch> MINE = ThreadLocal.withInitial(EmittedScratch::new);

    private MemorySegment left = MemorySegment.NULL, strips = MemorySegment.NULL, piece = MemorySegment.NULL;
    private MemorySegment scales = MemorySegment.NULL;
    /** What {@link BlockProduct#multiply} is called with. */
    final MemorySegment arguments = Arena.ofAuto().allocate(BlockProduct.ARGUMENT_BYTES, 64);

    private EmittedScratch() {}

    static EmittedScratch mine() {
        return MINE.get();
    }

    /** The packed left operand; filled and read by all threads of one product, owned by the thread that called it. */
    MemorySegment left(long bytes) {
        return left.byteSize() >= bytes ? left : (left = allocate(bytes));
    }

    /** The packed right block of one task. */
    MemorySegment strips(long bytes) {
        return strips.byteSize() >= bytes ? strips : (strips = allocate(bytes));
    }

    /** Widened numbers on their way into a packed operand. */
    MemorySegment piece(long bytes) {
        return piece.byteSize() >= bytes ? piece : (piece = allocate(bytes));
    }

    /** Scales of a piece of a matrix, where they cannot be read as they are stored. */
    MemorySegment scales(long bytes) {
        return scales.byteSize() >= bytes ? scales : (scales = allocate(bytes));
    }

    private static MemorySegment allocate(long bytes) {
        return Arena.ofAuto().allocate(bytes, 64);
    }
}
