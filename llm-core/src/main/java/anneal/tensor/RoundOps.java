package anneal.tensor;

import anneal.kernels.CodebookMatrix;

/** Rounding to the numbers that a storage format has, for what is computed before anything is stored. No gradients. */
public final class RoundOps {
    private RoundOps() {}

    /**
     * Each number replaced by the nearest that NF4 has: one of 16 quantiles of a normal distribution, times the largest size of the
     * number's block.
     *
     * <p>Shapes: w [out, in] -> [out, in]; blocks of {@code block} consecutive numbers may run over the ends of rows. Dettmers et al.,
     * arXiv:2305.14314, appendix E.
     */
    public static Tensor nf4(Tensor w, int block) {
        float[] x = w.toArray();
        for (int from = 0; from < x.length; from += block) {
            int to = Math.min(x.length, from + block);
            float largest = 0;
            for (int i = from; i < to; i++) {
                largest = Math.max(largest, Math.abs(x[i]));
            }
            for (int i = from; i < to && largest > 0; i++) {
                x[i] = nearestNf4(x[i] / largest) * largest;
            }
        }
        Tensor y = Tensor.like(w);
        y.set(x);
        return y;
    }

    /** The value of NF4 that is nearest to x; of two that are equally near, the lower. */
    public static float nearestNf4(float x) {
        float best = CodebookMatrix.NF4.getFirst();
        for (float value : CodebookMatrix.NF4) {
            best = Math.abs(x - value) < Math.abs(x - best) ? value : best;
        }
        return best;
    }
}
