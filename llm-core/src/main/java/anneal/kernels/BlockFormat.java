package anneal.kernels;

import static anneal.kernels.LittleEndian.half;
import static anneal.kernels.LittleEndian.i8;
import static anneal.kernels.LittleEndian.u8;

import java.lang.foreign.MemorySegment;

/**
 * GGUF's block formats: how the bytes of one block become numbers. The layouts are ggml's; the arithmetic is that of its
 * reference dequantisation, operation by operation, so values agree to the bit.
 */
public enum BlockFormat {
    /** 32 numbers: scale d, codes 0..15: d (q - 8). */
    Q4_0(32, 18) {
        @Override
        void widen(MemorySegment s, long at, float[] dst, int to) {
            float d = half(s, at);
            for (int i = 0; i < 16; i++) {
                int b = u8(s, at + 2 + i);
                dst[to + i] = d * ((b & 15) - 8);
                dst[to + 16 + i] = d * ((b >> 4) - 8);
            }
        }
    },
    /** 32 numbers: scale d, minimum m, codes 0..15: d q + m. */
    Q4_1(32, 20) {
        @Override
        void widen(MemorySegment s, long at, float[] dst, int to) {
            float d = half(s, at), m = half(s, at + 2);
            for (int i = 0; i < 16; i++) {
                int b = u8(s, at + 4 + i);
                dst[to + i] = d * (b & 15) + m;
                dst[to + 16 + i] = d * (b >> 4) + m;
            }
        }
    },
    /** 32 numbers: scale d, fifth bits apart, codes 0..31: d (q - 16). */
    Q5_0(32, 22) {
        @Override
        void widen(MemorySegment s, long at, float[] dst, int to) {
            float d = half(s, at);
            int fifth = s.get(LittleEndian.INT, at + 2);
            for (int i = 0; i < 16; i++) {
                int b = u8(s, at + 6 + i);
                dst[to + i] = d * ((b & 15 | (fifth >>> i & 1) << 4) - 16);
                dst[to + 16 + i] = d * ((b >> 4 | (fifth >>> i + 16 & 1) << 4) - 16);
            }
        }
    },
    /** 32 numbers: scale d, minimum m, fifth bits apart, codes 0..31: d q + m. */
    Q5_1(32, 24) {
        @Override
        void widen(MemorySegment s, long at, float[] dst, int to) {
            float d = half(s, at), m = half(s, at + 2);
            int fifth = s.get(LittleEndian.INT, at + 4);
            for (int i = 0; i < 16; i++) {
                int b = u8(s, at + 8 + i);
                dst[to + i] = d * (b & 15 | (fifth >>> i & 1) << 4) + m;
                dst[to + 16 + i] = d * (b >> 4 | (fifth >>> i + 16 & 1) << 4) + m;
            }
        }
    },
    /** 32 numbers: scale d, signed bytes: d q. */
    Q8_0(32, 34) {
        @Override
        void widen(MemorySegment s, long at, float[] dst, int to) {
            float d = half(s, at);
            for (int i = 0; i < 32; i++) {
                dst[to + i] = d * i8(s, at + 2 + i);
            }
        }
    },
    /** 16 groups of 16: 4-bit scales and minima of the block's d and dmin, codes 0..3: d s q - dmin m. */
    Q2_K(256, 84) {
        @Override
        void widen(MemorySegment s, long at, float[] dst, int to) {
            float d = half(s, at + 80), dmin = half(s, at + 82);
            for (int g = 0; g < 16; g++) {
                int scale = u8(s, at + g), shift = g % 8 / 2 * 2;
                float dl = d * (scale & 15), ml = dmin * (scale >> 4);
                long codes = at + 16 + g / 8 * 32 + g % 2 * 16;
                for (int i = 0; i < 16; i++) {
                    dst[to + 16 * g + i] = dl * (u8(s, codes + i) >> shift & 3) - ml;
                }
            }
        }
    },
    /** 16 groups of 16: 6-bit scales, third bits apart, codes 0..7: d (s - 32) (q - 4). */
    Q3_K(256, 110) {
        @Override
        void widen(MemorySegment s, long at, float[] dst, int to) {
            float d = half(s, at + 108);
            for (int g = 0; g < 16; g++) {
                int low = u8(s, at + 96 + g % 8) >> g / 8 * 4 & 15;
                int high = u8(s, at + 104 + g % 4) >> g / 4 * 2 & 3;
                float dl = d * ((low | high << 4) - 32);
                int shift = g % 8 / 2 * 2, third = g / 2;
                long codes = at + 32 + g / 8 * 32 + g % 2 * 16, thirds = at + g % 2 * 16;
                for (int i = 0; i < 16; i++) {
                    int q = u8(s, codes + i) >> shift & 3 | (u8(s, thirds + i) >> third & 1) << 2;
                    dst[to + 16 * g + i] = dl * (q - 4);
                }
            }
        }
    },
    /** 8 groups of 32: 6-bit scales and minima of the block's d and dmin, codes 0..15: d s q - dmin m. */
    Q4_K(256, 144) {
        @Override
        void widen(MemorySegment s, long at, float[] dst, int to) {
            float d = half(s, at), dmin = half(s, at + 2);
            for (int g = 0; g < 8; g++) {
                float dl = d * scale(s, at + 4, g), ml = dmin * minimum(s, at + 4, g);
                long codes = at + 16 + g / 2 * 32;
                for (int i = 0; i < 32; i++) {
                    dst[to + 32 * g + i] = dl * (u8(s, codes + i) >> g % 2 * 4 & 15) - ml;
                }
            }
        }
    },
    /** As Q4_K with fifth bits apart, codes 0..31. */
    Q5_K(256, 176) {
        @Override
        void widen(MemorySegment s, long at, float[] dst, int to) {
            float d = half(s, at), dmin = half(s, at + 2);
            for (int g = 0; g < 8; g++) {
                float dl = d * scale(s, at + 4, g), ml = dmin * minimum(s, at + 4, g);
                long codes = at + 48 + g / 2 * 32;
                for (int i = 0; i < 32; i++) {
                    int q = u8(s, codes + i) >> g % 2 * 4 & 15 | (u8(s, at + 16 + i) >> g & 1) << 4;
                    dst[to + 32 * g + i] = dl * q - ml;
                }
            }
        }
    },
    /** 16 groups of 16: 8-bit scales, upper two bits apart, codes 0..63: d s (q - 32). */
    Q6_K(256, 210) {
        @Override
        void widen(MemorySegment s, long at, float[] dst, int to) {
            float d = half(s, at + 208);
            for (int g = 0; g < 16; g++) {
                float dl = d * i8(s, at + 192 + g);
                int half = g / 8, quarter = g % 8 / 2;
                long lows = at + 64 * half + quarter % 2 * 32 + g % 2 * 16, highs = at + 128 + 32 * half + g % 2 * 16;
                for (int i = 0; i < 16; i++) {
                    int q = u8(s, lows + i) >> quarter / 2 * 4 & 15 | (u8(s, highs + i) >> 2 * quarter & 3) << 4;
                    dst[to + 16 * g + i] = dl * (q - 32);
                }
            }
        }
    };

    private final int size;
    private final int bytes;

    BlockFormat(int size, int bytes) {
        this.size = size;
        this.bytes = bytes;
    }

    /** Numbers in a block. */
    public int size() {
        return size;
    }

    /** Bytes of a block. */
    public int bytes() {
        return bytes;
    }

    /** Writes the numbers of the block at byte {@code at} to {@code dst[to ..]}. */
    abstract void widen(MemorySegment s, long at, float[] dst, int to);

    /** The 6-bit scale of group g in the 12 bytes that Q4_K and Q5_K share between scales and minima. */
    static int scale(MemorySegment s, long at, int g) {
        return g < 4 ? u8(s, at + g) & 63 : u8(s, at + g + 4) & 15 | u8(s, at + g - 4) >> 6 << 4;
    }

    /** The 6-bit minimum of group g, see {@link #scale}. */
    static int minimum(MemorySegment s, long at, int g) {
        return g < 4 ? u8(s, at + g + 4) & 63 : u8(s, at + g + 4) >> 4 | u8(s, at + g) >> 6 << 4;
    }
}
