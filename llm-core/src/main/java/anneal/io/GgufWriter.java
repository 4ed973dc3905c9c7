package anneal.io;

import anneal.tensor.DType;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Writes GGUF files (version 3, little endian): metadata and tensors, aligned to 32 bytes unless the key
 * {@code general.alignment} says otherwise. A file appears whole or not at all.
 */
public final class GgufWriter {
    private static final int MAX_NAME = 63;
    private static final int MAX_DIMS = 4;

    /** Values by key, each encoded with its type in front. */
    private final Map<String, byte[]> values = new LinkedHashMap<>();

    private int alignment = 32;
    private DType target;

    /** A string. */
    public GgufWriter put(String key, String value) {
        return put(key, GgufType.STRING, value);
    }

    /** A count: UINT32, what readers expect of sizes and ids. */
    public GgufWriter put(String key, int value) {
        return put(key, GgufType.UINT32, (long) value);
    }

    /** A FLOAT32. */
    public GgufWriter put(String key, float value) {
        return put(key, GgufType.FLOAT32, value);
    }

    /** True or false. */
    public GgufWriter put(String key, boolean value) {
        return put(key, GgufType.BOOL, value);
    }

    /** An array of strings. */
    public GgufWriter put(String key, List<String> value) {
        Encoder to = new Encoder(8L + 4 + 12L * value.size());
        to.header(GgufType.STRING, value.size());
        value.forEach(to::string);
        values.put(key, to.bytes());
        return this;
    }

    /** An array of INT32. */
    public GgufWriter put(String key, int[] value) {
        Encoder to = new Encoder(16L + 4L * value.length);
        to.header(GgufType.INT32, value.length);
        for (int n : value) {
            to.number(n, 4);
        }
        values.put(key, to.bytes());
        return this;
    }

    /** An array of FLOAT32. */
    public GgufWriter put(String key, float[] value) {
        Encoder to = new Encoder(16L + 4L * value.length);
        to.header(GgufType.FLOAT32, value.length);
        for (float f : value) {
            to.number(Float.floatToRawIntBits(f), 4);
        }
        values.put(key, to.bytes());
        return this;
    }

    /**
     * A single value of a given type.
     *
     * @param value String, Boolean, or a Number that the type can hold
     */
    public GgufWriter put(String key, GgufType type, Object value) {
        Encoder to = new Encoder(32);
        to.number(type.ordinal(), 4);
        to.value(key, type, value);
        if (key.equals("general.alignment")) {
            alignment = requireAlignment(value);
        }
        values.put(key, to.bytes());
        return this;
    }

    /** All metadata of another file, types included; keys that are already here are replaced. */
    public GgufWriter putAll(Gguf other) {
        other.types().forEach((key, type) -> {
            if (type == GgufType.ARRAY) {
                Encoder to = new Encoder(32);
                to.number(GgufType.ARRAY.ordinal(), 4);
                to.array((GgufArray) other.metadata().get(key));
                values.put(key, to.bytes());
            } else {
                put(key, type, other.metadata().get(key));
            }
        });
        return this;
    }

    /**
     * Stores matrices of real numbers as {@code type}: F32, F16, BF16 or Q8_0. As llama.cpp wants it, tensors of less
     * than two dims (norms, biases) become F32, and with Q8_0 rows that are no multiple of 32 become F16. Tensors in
     * blocks and integers stay as they are. A finite number that would become infinite is an error.
     */
    public GgufWriter as(DType type) {
        if (type != DType.F32 && type != DType.F16 && type != DType.BF16 && type != DType.Q8_0) {
            throw new IllegalArgumentException(
                    "GGUF: numbers can be written as F32, F16, BF16 or Q8_0, not as " + type);
        }
        target = type;
        return this;
    }

    /**
     * Writes the file; its folder must exist.
     *
     * @throws IllegalArgumentException for names given twice, types or sizes GGUF does not have, numbers that do not
     *     fit
     * @throws UncheckedIOException if the file cannot be written; an older one of that name is then still there
     */
    public void write(Path file, List<? extends TensorEntry> tensors) {
        byte[] header = header(tensors);
        try {
            AtomicFile.write(file, channel -> {
                AtomicFile.writeFully(channel, ByteBuffer.wrap(header));
                TensorStream stream = new TensorStream(channel);
                stream.pad(alignment);
                for (TensorEntry tensor : tensors) {
                    stream.write(tensor, stored(tensor));
                    stream.pad(alignment);
                }
            });
        } catch (IOException e) {
            throw new UncheckedIOException(file + " cannot be written: " + e.getMessage(), e);
        }
    }

    private byte[] header(List<? extends TensorEntry> tensors) {
        TensorStream.requireUnique(tensors);
        Encoder to = new Encoder(1 << 16);
        to.raw("GGUF".getBytes(StandardCharsets.US_ASCII));
        to.number(3, 4);
        to.number(tensors.size(), 8);
        to.number(values.size(), 8);
        values.forEach((key, value) -> {
            to.string(key);
            to.raw(value);
        });
        long at = 0;
        for (TensorEntry tensor : tensors) {
            DType stored = stored(tensor);
            long[] shape = tensor.shape();
            requireWritable(tensor, stored, shape);
            to.string(tensor.name());
            to.number(shape.length, 4);
            for (int d = shape.length - 1; d >= 0; d--) {
                to.number(shape[d], 8);
            }
            to.number(Gguf.ggmlNumber(stored), 4);
            to.number(at, 8);
            long bytes = Shapes.bytes(tensor.name(), stored, shape);
            at = Math.addExact(at, Math.ceilDiv(bytes, (long) alignment) * alignment);
        }
        return to.bytes();
    }

    private static void requireWritable(TensorEntry tensor, DType stored, long[] shape) {
        String here = "GGUF: tensor \"" + tensor.name() + "\"";
        int bytes = tensor.name().getBytes(StandardCharsets.UTF_8).length;
        if (bytes > MAX_NAME) {
            throw new IllegalArgumentException(here + " has a name of " + bytes + " bytes; readers allow " + MAX_NAME);
        }
        if (shape.length > MAX_DIMS) {
            throw new IllegalArgumentException(here + " has " + shape.length + " dims; at most 4 are allowed");
        }
        if (Gguf.ggmlNumber(stored) < 0) {
            throw new IllegalArgumentException(here + " is stored as " + stored + ", which GGUF does not have");
        }
    }

    private DType stored(TensorEntry tensor) {
        if (target == null || tensor.asItIs() || !Convert.isPlainReal(tensor.dtype())) {
            return tensor.dtype();
        }
        long[] shape = tensor.shape();
        if (shape.length < 2) {
            return DType.F32;
        }
        boolean wholeBlocks = shape[shape.length - 1] % target.blockSize() == 0;
        return wholeBlocks ? target : DType.F16;
    }

    private static int requireAlignment(Object value) {
        if (!(value instanceof Number n)
                || n.longValue() < 8
                || n.longValue() > 1 << 20
                || Long.bitCount(n.longValue()) != 1) {
            throw new IllegalArgumentException(
                    "GGUF: key \"general.alignment\" must be a power of two from 8 to 2^20 but is " + value);
        }
        return n.intValue();
    }

    /** Numbers, strings and arrays, little endian, into growing bytes. */
    private static final class Encoder {
        private final ByteArrayOutputStream to;
        private final ByteBuffer number = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);

        Encoder(long expected) {
            to = new ByteArrayOutputStream((int) Math.min(expected, 1 << 26));
        }

        byte[] bytes() {
            return to.toByteArray();
        }

        void raw(byte[] bytes) {
            to.writeBytes(bytes);
        }

        void number(long value, int bytes) {
            number.putLong(0, value);
            to.write(number.array(), 0, bytes);
        }

        void string(String text) {
            byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
            number(utf8.length, 8);
            raw(utf8);
        }

        /** Type of a value that is an array, then the array's own header. */
        void header(GgufType element, int size) {
            number(GgufType.ARRAY.ordinal(), 4);
            number(element.ordinal(), 4);
            number(size, 8);
        }

        void array(GgufArray array) {
            MemorySegment raw = array.raw();
            number(array.elementType().ordinal(), 4);
            number(array.size(), 8);
            raw(raw.toArray(LittleEndian.BYTE)); // inner arrays stand there with their headers
        }

        void value(String key, GgufType type, Object value) {
            if (type == GgufType.STRING && value instanceof String s) {
                string(s);
            } else if (type == GgufType.BOOL && value instanceof Boolean b) {
                number(b ? 1 : 0, 1);
            } else if (type == GgufType.FLOAT32 && value instanceof Number n) {
                number(Float.floatToRawIntBits(n.floatValue()), 4);
            } else if (type == GgufType.FLOAT64 && value instanceof Number n) {
                number(Double.doubleToRawLongBits(n.doubleValue()), 8);
            } else if (GgufArray.isInteger(type) && value instanceof Number n && fits(n, type)) {
                number(n.longValue(), type.bytes());
            } else {
                throw new IllegalArgumentException(
                        "GGUF: key \"" + key + "\": " + JsonObject.describe(value) + " is no " + type);
            }
        }

        private static boolean fits(Number n, GgufType type) {
            if (n instanceof java.math.BigInteger big) {
                return big.signum() >= 0 && big.bitLength() <= 64 && type == GgufType.UINT64;
            }
            if (n instanceof Float || n instanceof Double) {
                return false;
            }
            long value = n.longValue();
            return switch (type) {
                case UINT8 -> value >= 0 && value < 1L << 8;
                case UINT16 -> value >= 0 && value < 1L << 16;
                case UINT32 -> value >= 0 && value < 1L << 32;
                case UINT64 -> value >= 0;
                case INT8 -> value == (byte) value;
                case INT16 -> value == (short) value;
                case INT32 -> value == (int) value;
                default -> true;
            };
        }
    }
}
