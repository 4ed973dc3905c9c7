package anneal.io;

import anneal.tensor.DType;
import java.lang.foreign.MemorySegment;

/** Numbers from one storage type to another, a piece at a time; roundings are to nearest, ties to even. */
final class Convert {
    private Convert() {}

    /** True if tensors of this type can be converted: plain real numbers. */
    static boolean isPlainReal(DType dtype) {
        return dtype == DType.F32 || dtype == DType.F16 || dtype == DType.BF16 || dtype == DType.F64;
    }

    /** Widens {@code count} numbers of {@code data}, starting with number {@code from}. */
    static void toFloats(MemorySegment data, DType dtype, long from, float[] to, int count) {
        switch (dtype) {
            case F32 -> MemorySegment.copy(data, LittleEndian.FLOAT, from * 4, to, 0, count);
            case F16 -> {
                for (int i = 0; i < count; i++) {
                    to[i] = Float.float16ToFloat(data.get(LittleEndian.SHORT, (from + i) * 2));
                }
            }
            case BF16 -> {
                for (int i = 0; i < count; i++) {
                    to[i] = Bfloat16.toFloat(data.get(LittleEndian.SHORT, (from + i) * 2));
                }
            }
            case F64 -> {
                for (int i = 0; i < count; i++) {
                    to[i] = (float) data.get(LittleEndian.DOUBLE, (from + i) * 8);
                }
            }
            default -> throw new IllegalArgumentException("no conversion from " + dtype);
        }
    }

    /** Index of the first finite double whose float is infinite, or -1. */
    static int beyondFloat(MemorySegment doubles, long from, float[] floats, int count) {
        for (int i = 0; i < count; i++) {
            if (Float.isInfinite(floats[i]) && Double.isFinite(doubles.get(LittleEndian.DOUBLE, (from + i) * 8))) {
                return i;
            }
        }
        return -1;
    }

    /**
     * Writes {@code count} floats to the start of {@code data}.
     *
     * @return index of the first finite number that {@code dtype} cannot hold (it would become infinite), or -1
     */
    static int fromFloats(float[] values, int count, DType dtype, MemorySegment data) {
        return switch (dtype) {
            case F32 -> {
                MemorySegment.copy(values, 0, data, LittleEndian.FLOAT, 0, count);
                yield -1;
            }
            case F16 -> toHalf(values, count, data);
            case BF16 -> toBfloat(values, count, data);
            case Q8_0 -> toQ8(values, count, data);
            default -> throw new IllegalArgumentException("no conversion to " + dtype);
        };
    }

    private static int toHalf(float[] values, int count, MemorySegment data) {
        int lost = -1;
        for (int i = 0; i < count; i++) {
            short half = Float.floatToFloat16(values[i]);
            if ((half & 0x7fff) == 0x7c00 && lost < 0 && Float.isFinite(values[i])) {
                lost = i;
            }
            data.set(LittleEndian.SHORT, i * 2L, half);
        }
        return lost;
    }

    private static int toBfloat(float[] values, int count, MemorySegment data) {
        int lost = -1;
        for (int i = 0; i < count; i++) {
            short half = Bfloat16.fromFloat(values[i]);
            if ((half & 0x7fff) == 0x7f80 && lost < 0 && Float.isFinite(values[i])) {
                lost = i;
            }
            data.set(LittleEndian.SHORT, i * 2L, half);
        }
        return lost;
    }

    /** Blocks of 32: scale = max |x| / 127 as f16, codes = x / scale (unrounded scale), halves away from zero. */
    private static int toQ8(float[] values, int count, MemorySegment data) {
        for (int block = 0; block < count / 32; block++) {
            float max = 0;
            for (int i = 0; i < 32; i++) {
                float x = values[block * 32 + i];
                if (!Float.isFinite(x)) {
                    return block * 32 + i;
                }
                max = Math.max(max, Math.abs(x));
            }
            float scale = max / 127;
            float inverse = scale == 0 ? 0 : 1 / scale;
            short half = Float.floatToFloat16(scale);
            if ((half & 0x7fff) == 0x7c00) {
                return block * 32;
            }
            if (Float.isInfinite(inverse)) {
                inverse = 0; // so small that the f16 scale is 0 anyway
            }
            long at = block * 34L;
            data.set(LittleEndian.SHORT, at, half);
            for (int i = 0; i < 32; i++) {
                float q = values[block * 32 + i] * inverse;
                float size = Math.abs(q);
                int code = (int) size;
                if (size - code >= 0.5f) { // exact, where adding 0.5 first would round once more
                    code++;
                }
                data.set(LittleEndian.BYTE, at + 2 + i, (byte) (q < 0 ? -code : code));
            }
        }
        return -1;
    }
}
