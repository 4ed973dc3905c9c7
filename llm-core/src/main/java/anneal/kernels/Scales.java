package anneal.kernels;

import static anneal.kernels.LittleEndian.FLOAT;
import static anneal.kernels.LittleEndian.u8;

import java.lang.foreign.MemorySegment;

/** One scale for each block of a quantised matrix. */
public sealed interface Scales {
    /** The scale of a block. */
    float of(long block);

    /** Bytes that the scales of so many blocks take. */
    long bytes(long blocks);

    /**
     * Scales as they are.
     *
     * @param floats one for each block
     */
    record Plain(MemorySegment floats) implements Scales {
        @Override
        public float of(long block) {
            return floats.get(FLOAT, 4 * block);
        }

        @Override
        public long bytes(long blocks) {
            return 4 * blocks;
        }
    }

    /**
     * Scales that are quantised themselves, to a byte each: double quantisation (Dettmers et al., arXiv:2305.14314, section 3).
     * Scale b is {@code map[codes[b]] * absmax[b / blockSize] + offset}.
     *
     * <p>They are widened where a piece of the matrix is, and not once: as floats they would take what quantising them has saved.
     *
     * @param codes one byte for each scale
     * @param absmax one float for each {@code blockSize} scales
     * @param map the 256 numbers that a code stands for
     */
    record Nested(MemorySegment codes, MemorySegment absmax, MemorySegment map, float offset, int blockSize)
            implements Scales {
        @Override
        public float of(long block) {
            return map.get(FLOAT, 4L * u8(codes, block)) * absmax.get(FLOAT, 4 * (block / blockSize)) + offset;
        }

        @Override
        public long bytes(long blocks) {
            return blocks + 4 * Math.ceilDiv(blocks, (long) blockSize);
        }
    }
}
