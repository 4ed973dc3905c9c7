package anneal.io;

import java.lang.foreign.MemorySegment;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.AbstractList;
import java.util.List;
import java.util.RandomAccess;

/**
 * An array among the metadata of a GGUF file, read in place: a vocabulary of 250,000 strings costs one int each until
 * its strings are asked for. Unmodifiable; as long lived as the arena the file was opened in.
 */
public final class GgufArray extends AbstractList<Object> implements RandomAccess {
    private final String key;
    private final GgufType type;
    private final MemorySegment bytes;
    private final int size;
    private final int[] starts; // of strings; null for numbers
    private final List<GgufArray> arrays; // of arrays; null for others

    GgufArray(String key, GgufType type, MemorySegment bytes, int size, int[] starts, List<GgufArray> arrays) {
        this.key = key;
        this.type = type;
        this.bytes = bytes;
        this.size = size;
        this.starts = starts;
        this.arrays = arrays;
    }

    /** Type of the elements. */
    public GgufType elementType() {
        return type;
    }

    @Override
    public int size() {
        return size;
    }

    @Override
    public Object get(int i) {
        java.util.Objects.checkIndex(i, size);
        return switch (type) {
            case STRING -> string(i);
            case ARRAY -> arrays.get(i);
            default -> scalar(bytes, (long) i * type.bytes(), type);
        };
    }

    /** All strings, decoded as they are asked for. */
    public List<String> strings() {
        require(type == GgufType.STRING, "strings");
        return new Strings();
    }

    /** The bytes of a string, which need not be UTF-8. */
    public byte[] bytes(int i) {
        require(type == GgufType.STRING, "strings");
        java.util.Objects.checkIndex(i, size);
        long length = bytes.get(LittleEndian.LONG, starts[i]);
        return bytes.asSlice(starts[i] + 8L, length).toArray(LittleEndian.BYTE);
    }

    /** All integers, each of which must fit 32 bits. */
    public int[] ints() {
        long[] longs = longs();
        int[] ints = new int[longs.length];
        for (int i = 0; i < ints.length; i++) {
            ints[i] = (int) longs[i];
            if (ints[i] != longs[i]) {
                throw new IllegalArgumentException(
                        "GGUF key \"" + key + "\": " + longs[i] + " at index " + i + " does not fit 32 bits");
            }
        }
        return ints;
    }

    /** All integers. */
    public long[] longs() {
        require(isInteger(type), "integers");
        long[] longs = new long[size];
        for (int i = 0; i < size; i++) {
            if (!(scalar(bytes, (long) i * type.bytes(), type) instanceof Long value)) {
                throw new IllegalArgumentException(
                        "GGUF key \"" + key + "\": the number at index " + i + " does not fit 63 bits");
            }
            longs[i] = value;
        }
        return longs;
    }

    /** All floats; FLOAT64 is rounded. */
    public float[] floats() {
        require(type == GgufType.FLOAT32 || type == GgufType.FLOAT64, "floats");
        float[] floats = new float[size];
        for (int i = 0; i < size; i++) {
            floats[i] = ((Number) scalar(bytes, (long) i * type.bytes(), type)).floatValue();
        }
        return floats;
    }

    /** The bytes of numbers as they stand in the file, or of strings with their lengths: for writing a copy. */
    MemorySegment raw() {
        return bytes;
    }

    private String string(int i) {
        return new String(bytes(i), StandardCharsets.UTF_8);
    }

    private void require(boolean fits, String expected) {
        if (!fits) {
            throw new IllegalArgumentException(
                    "GGUF key \"" + key + "\" must be an array of " + expected + " but is one of " + type);
        }
    }

    static boolean isInteger(GgufType type) {
        return switch (type) {
            case UINT8, INT8, UINT16, INT16, UINT32, INT32, UINT64, INT64 -> true;
            default -> false;
        };
    }

    /** A value that is neither string nor array. */
    static Object scalar(MemorySegment bytes, long at, GgufType type) {
        return switch (type) {
            case UINT8 -> bytes.get(LittleEndian.BYTE, at) & 0xffL;
            case INT8 -> (long) bytes.get(LittleEndian.BYTE, at);
            case UINT16 -> bytes.get(LittleEndian.SHORT, at) & 0xffffL;
            case INT16 -> (long) bytes.get(LittleEndian.SHORT, at);
            case UINT32 -> bytes.get(LittleEndian.INT, at) & 0xffffffffL;
            case INT32 -> (long) bytes.get(LittleEndian.INT, at);
            case INT64 -> bytes.get(LittleEndian.LONG, at);
            case UINT64 -> {
                long value = bytes.get(LittleEndian.LONG, at);
                yield value >= 0 ? (Object) value : new BigInteger(Long.toUnsignedString(value));
            }
            case FLOAT32 -> bytes.get(LittleEndian.FLOAT, at);
            case FLOAT64 -> bytes.get(LittleEndian.DOUBLE, at);
            case BOOL -> bytes.get(LittleEndian.BYTE, at) != 0;
            case STRING, ARRAY -> throw new AssertionError(type);
        };
    }

    private final class Strings extends AbstractList<String> implements RandomAccess {
        @Override
        public String get(int i) {
            return string(i);
        }

        @Override
        public int size() {
            return size;
        }
    }
}
