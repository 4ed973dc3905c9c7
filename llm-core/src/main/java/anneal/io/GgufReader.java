package anneal.io;

import anneal.tensor.DType;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** One walk through the bytes of a GGUF file. Every count and length is held against the bytes left before it is used. */
final class GgufReader {
    private static final int MAGIC = 0x46554747; // "GGUF"
    private static final int MAX_DIMS = 4;
    private static final int MAX_NESTING = 8;
    private static final int MAX_NAME = 65_535;
    private static final int DEFAULT_ALIGNMENT = 32;
    /** Bytes that the shortest key or tensor takes: a count above rest / least is a lie. */
    private static final int LEAST_KEY = 8 + 4 + 1;

    private static final int LEAST_TENSOR = 8 + 4 + 4 + 8;

    private final MemorySegment bytes;
    private long at;

    GgufReader(MemorySegment bytes) {
        this.bytes = bytes;
    }

    private record Info(String name, DType dtype, long[] shape, long offset, long size) {}

    Gguf read(Path path) {
        readVersion();
        long tensorCount = readCount("tensors", LEAST_TENSOR);
        long keyCount = readCount("keys", LEAST_KEY);
        Map<String, Object> metadata = new LinkedHashMap<>();
        Map<String, GgufType> types = new LinkedHashMap<>();
        for (long i = 0; i < keyCount; i++) {
            String key = readName("the name of key " + i);
            GgufType type = readType("key \"" + Shapes.shorten(key) + "\"");
            if (types.put(key, type) != null) {
                throw new IllegalArgumentException("key \"" + Shapes.shorten(key) + "\" stands there twice");
            }
            metadata.put(key, readValue(key, type));
        }
        List<Info> infos = new ArrayList<>();
        for (long i = 0; i < tensorCount; i++) {
            infos.add(readInfo(i));
        }
        return new Gguf(path, metadata, types, place(infos, alignment(metadata)));
    }

    private void readVersion() {
        if (bytes.byteSize() < 8 || readInt("the magic") != MAGIC) {
            throw new IllegalArgumentException("no GGUF file: it does not begin with \"GGUF\"");
        }
        int version = readInt("the version");
        if (version != 2 && version != 3) {
            boolean swapped = Integer.reverseBytes(version) >= 1 && Integer.reverseBytes(version) <= 3;
            throw new IllegalArgumentException(
                    swapped
                            ? "a big-endian GGUF file; only little-endian ones are supported"
                            : "GGUF version " + Integer.toUnsignedString(version) + "; supported are 2 and 3");
        }
    }

    private long readCount(String what, int least) {
        long count = readLong("the number of " + what);
        long rest = bytes.byteSize() - at;
        if (count < 0 || count > rest / least) {
            throw new IllegalArgumentException("truncated or wrong: it claims " + Long.toUnsignedString(count) + " "
                    + what + ", but only " + rest + " bytes follow");
        }
        return count;
    }

    private Info readInfo(long index) {
        String name = readName("the name of tensor " + index);
        String here = "tensor \"" + Shapes.shorten(name) + "\"";
        int dims = readInt(here);
        if (dims < 0 || dims > MAX_DIMS) {
            throw new IllegalArgumentException(
                    here + " has " + Integer.toUnsignedString(dims) + " dims; at most " + MAX_DIMS + " are allowed");
        }
        long[] shape = new long[dims];
        for (int d = dims - 1; d >= 0; d--) {
            shape[d] = readLong(here);
        }
        int number = readInt(here);
        DType dtype = dtype(number, here);
        long offset = readLong(here);
        return new Info(name, dtype, shape, offset, Shapes.bytes(Shapes.shorten(name), dtype, shape));
    }

    private static DType dtype(int number, String here) {
        String name = Gguf.GGML_TYPES.get(number);
        for (DType dtype : DType.values()) {
            if (dtype.name().equals(name)) {
                return dtype;
            }
        }
        throw new IllegalArgumentException(here + " is stored as " + (name == null ? "an unknown type" : name)
                + " (ggml type " + Integer.toUnsignedString(number) + "), which is not supported");
    }

    private static int alignment(Map<String, Object> metadata) {
        Object value = metadata.getOrDefault("general.alignment", (long) DEFAULT_ALIGNMENT);
        if (!(value instanceof Long n) || n < 1 || n > 1 << 30 || Long.bitCount(n) != 1) {
            throw new IllegalArgumentException("key \"general.alignment\" must be a power of two but is " + value);
        }
        return n.intValue();
    }

    /** Finds each tensor's bytes; offsets count from the first aligned byte after the infos. */
    private Map<String, StoredTensor> place(List<Info> infos, int alignment) {
        long start = Math.min((at + alignment - 1) / alignment * alignment, bytes.byteSize());
        MemorySegment data = bytes.asSlice(start);
        Map<String, StoredTensor> tensors = LinkedHashMap.newLinkedHashMap(infos.size());
        for (Info i : infos) {
            String here = "tensor \"" + Shapes.shorten(i.name) + "\"";
            if (i.offset % alignment != 0) {
                throw new IllegalArgumentException(here + " begins at byte " + Long.toUnsignedString(i.offset)
                        + " of the data, which is no multiple of the alignment " + alignment);
            }
            if (i.offset < 0 || i.offset > data.byteSize() || i.size > data.byteSize() - i.offset) {
                throw new IllegalArgumentException("truncated or wrong: " + here + " " + i.dtype + " "
                        + Arrays.toString(i.shape) + " takes " + i.size + " bytes from byte "
                        + Long.toUnsignedString(i.offset) + " of the data, which has " + data.byteSize());
            }
            StoredTensor tensor = new StoredTensor(i.name, i.dtype, i.shape, data.asSlice(i.offset, i.size));
            if (tensors.put(i.name, tensor) != null) {
                throw new IllegalArgumentException(here + " stands there twice");
            }
        }
        requireApart(infos);
        return tensors;
    }

    private static void requireApart(List<Info> infos) {
        List<Info> sorted = infos.stream()
                .filter(i -> i.size > 0)
                .sorted(Comparator.comparingLong(Info::offset))
                .toList();
        for (int i = 1; i < sorted.size(); i++) {
            Info before = sorted.get(i - 1);
            Info here = sorted.get(i);
            if (before.offset + before.size > here.offset) {
                throw new IllegalArgumentException("tensor \"" + Shapes.shorten(here.name) + "\" begins at byte "
                        + here.offset + " of the data, but tensor \"" + Shapes.shorten(before.name) + "\" ends at "
                        + (before.offset + before.size) + ": they overlap");
            }
        }
    }

    private Object readValue(String key, GgufType type) {
        String here = "key \"" + Shapes.shorten(key) + "\"";
        return switch (type) {
            case STRING -> readString(here, Integer.MAX_VALUE - 8);
            case ARRAY -> readArray(key, here, 1);
            default -> {
                long from = skip(type.bytes(), here);
                yield GgufArray.scalar(bytes, from, type);
            }
        };
    }

    private GgufArray readArray(String key, String here, int depth) {
        if (depth > MAX_NESTING) {
            throw new IllegalArgumentException(here + ": arrays are nested deeper than " + MAX_NESTING);
        }
        GgufType type = readType(here);
        long count = readLong(here);
        long rest = bytes.byteSize() - at;
        if (count < 0 || count > rest / type.leastBytes() || count > Integer.MAX_VALUE - 8) {
            throw new IllegalArgumentException("truncated or wrong: " + here + " claims an array of "
                    + Long.toUnsignedString(count) + " " + type + ", but only " + rest + " bytes follow");
        }
        int size = (int) count;
        long from = at;
        switch (type) {
            case STRING -> {
                return readStrings(key, here, size);
            }
            case ARRAY -> {
                List<GgufArray> arrays = new ArrayList<>();
                for (int i = 0; i < size; i++) {
                    arrays.add(readArray(key, here, depth + 1));
                }
                return new GgufArray(key, type, bytes.asSlice(from, at - from), size, null, arrays);
            }
            default -> {
                skip((long) size * type.bytes(), here);
                return new GgufArray(key, type, bytes.asSlice(from, at - from), size, null, null);
            }
        }
    }

    private GgufArray readStrings(String key, String here, int size) {
        int[] starts = new int[size];
        long from = at;
        for (int i = 0; i < size; i++) {
            if (at - from > Integer.MAX_VALUE) {
                throw new IllegalArgumentException(here + " has more than 2^31 bytes of strings");
            }
            starts[i] = (int) (at - from);
            long length = readLong(here);
            if (length < 0 || length > Integer.MAX_VALUE - 8) {
                throw new IllegalArgumentException("truncated or wrong: " + here + " claims a string of "
                        + Long.toUnsignedString(length) + " bytes at index " + i);
            }
            skip(length, here + " at index " + i);
        }
        return new GgufArray(key, GgufType.STRING, bytes.asSlice(from, at - from), size, starts, null);
    }

    private GgufType readType(String here) {
        int number = readInt(here);
        if (number < 0 || number >= GgufType.values().length) {
            throw new IllegalArgumentException(
                    here + " has the unknown value type " + Integer.toUnsignedString(number));
        }
        return GgufType.values()[number];
    }

    private String readName(String here) {
        return readString(here, MAX_NAME);
    }

    private String readString(String here, int most) {
        long length = readLong(here);
        if (length < 0 || length > most) {
            throw new IllegalArgumentException("truncated or wrong: " + here + " claims a string of "
                    + Long.toUnsignedString(length) + " bytes; at most " + most + " are allowed");
        }
        long from = skip(length, here);
        return new String(bytes.asSlice(from, length).toArray(LittleEndian.BYTE), StandardCharsets.UTF_8);
    }

    private int readInt(String here) {
        return bytes.get(LittleEndian.INT, skip(4, here));
    }

    private long readLong(String here) {
        return bytes.get(LittleEndian.LONG, skip(8, here));
    }

    /** Moves over {@code count} bytes and says where they begin. */
    private long skip(long count, String here) {
        long rest = bytes.byteSize() - at;
        if (count > rest) {
            throw new IllegalArgumentException("truncated: " + here + " needs " + count + " bytes at byte " + at
                    + ", but only " + rest + " follow");
        }
        long from = at;
        at += count;
        return from;
    }
}
