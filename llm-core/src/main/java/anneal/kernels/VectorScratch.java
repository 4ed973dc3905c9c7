package anneal.kernels;

/** Arrays that a thread uses again and again while it packs and multiplies; they grow to the largest size asked for. */
final class VectorScratch {
    private static final ThreadLocal<VectorScratch> MINE = ThreadLocal.withInitial(VectorScratch::new);

    private float[] panel = {}, left = {}, piece = {};
    final float[] sums = new float[VectorTile.ROWS * VectorTile.COLS];

    private VectorScratch() {}

    static VectorScratch mine() {
        return MINE.get();
    }

    /** The packed right operand; filled and read by all threads of one product, owned by the thread that called it. */
    float[] panel(int length) {
        return panel.length >= length ? panel : (panel = new float[length]);
    }

    /** The packed left operand of one task. */
    float[] left(int length) {
        return left.length >= length ? left : (left = new float[length]);
    }

    /** Widened numbers on their way into a packed operand. */
    float[] piece(int length) {
        return piece.length >= length ? piece : (piece = new float[length]);
    }
}
