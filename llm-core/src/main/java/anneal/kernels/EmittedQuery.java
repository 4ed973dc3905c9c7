package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import anneal.kernels.emit.QueryProducts;
import java.lang.foreign.MemorySegment;

/** The products of {@link AttentionDecode} in emitted code; scores and sums pass through memory outside the heap. */
record EmittedQuery(QueryProducts code, MemorySegment q, MemorySegment k, MemorySegment v, int dim, long stride)
        implements AttentionDecode.Products {
    private static final long FLOAT = 4;

    EmittedQuery(QueryProducts code, MemorySegment q, MemorySegment k, MemorySegment v, Attention s) {
        this(code, q, k, v, s.headDim(), FLOAT * s.kvHeads() * s.headDim());
    }

    @Override
    public void dots(float[] scores, long query, long keys, int n) {
        MemorySegment memory = VectorScratch.mine().tiles(FLOAT * n);
        code.dots(memory, q.asSlice(FLOAT * query), k.asSlice(FLOAT * keys), stride, n);
        MemorySegment.copy(memory, JAVA_FLOAT, 0, scores, 0, n);
    }

    @Override
    public void weigh(float[] out, int to, float[] weights, long values, int n) {
        MemorySegment memory = VectorScratch.mine().tiles(FLOAT * (n + dim));
        MemorySegment sums = memory.asSlice(FLOAT * n);
        MemorySegment.copy(weights, 0, memory, JAVA_FLOAT, 0, n);
        code.weigh(sums, memory, v.asSlice(FLOAT * values), stride, n);
        MemorySegment.copy(sums, JAVA_FLOAT, 0, out, to, dim);
    }
}
