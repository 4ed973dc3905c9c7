package anneal.io;

import anneal.tensor.DType;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A GGUF file (versions 2 and 3, little endian), mapped and read in place: metadata, and tensors in their own storage
 * types.
 *
 * <p>GGUF lists sizes with the contiguous dimension first; here shapes are as everywhere else, [rows, cols]. Names and
 * row order are the file's own: that LLaMA's query and key rows are permuted there is the model's affair.
 *
 * <p>Source: docs/gguf.md of github.com/ggml-org/ggml. Writing: {@link GgufWriter}.
 */
public final class Gguf {
    /** Numbers of storage types in the file; those that {@link DType} does not have are only named. */
    static final Map<Integer, String> GGML_TYPES = ggmlTypes();

    private final Path path;
    private final Map<String, Object> metadata;
    private final Map<String, GgufType> types;
    private final Map<String, StoredTensor> tensors;

    Gguf(Path path, Map<String, Object> metadata, Map<String, GgufType> types, Map<String, StoredTensor> tensors) {
        this.path = path;
        this.metadata = Collections.unmodifiableMap(metadata);
        this.types = Collections.unmodifiableMap(types);
        this.tensors = Collections.unmodifiableMap(tensors);
    }

    /**
     * Opens a file.
     *
     * @param arena how long tensors and arrays live; shared or automatic if several threads read them
     * @throws java.io.UncheckedIOException if the file is missing or cannot be read
     * @throws IllegalArgumentException if the file is not what it says; the message names file, key or tensor, and
     *     numbers
     */
    public static Gguf open(Path file, Arena arena) {
        MemorySegment bytes = MappedFile.map(file, arena);
        try {
            return new GgufReader(bytes).read(file);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(file + ": " + e.getMessage(), e.getCause());
        }
    }

    /**
     * All metadata in the order of the file: String, Boolean, Float, Double, Long for every integer type (BigInteger
     * for a UINT64 beyond it), {@link GgufArray} for arrays.
     */
    public Map<String, Object> metadata() {
        return metadata;
    }

    /** The type each metadata value has in the file. */
    public Map<String, GgufType> types() {
        return types;
    }

    /** All tensors by name, in the order of the file. */
    public Map<String, StoredTensor> tensors() {
        return tensors;
    }

    /** A tensor that must be there; the message names the nearest one that is. */
    public StoredTensor get(String name) {
        StoredTensor tensor = tensors.get(name);
        if (tensor == null) {
            throw new IllegalArgumentException(path + " has no tensor \"" + name + "\"" + nearest(name, tensors));
        }
        return tensor;
    }

    /** True if there is metadata under this key. */
    public boolean has(String key) {
        return metadata.containsKey(key);
    }

    /** A string. */
    public String string(String key) {
        return value(key) instanceof String s ? s : wrong(key, "a string");
    }

    /** An integer of 32 bits, whatever its type in the file. */
    public int integer(String key) {
        return value(key) instanceof Long n && n == n.intValue() ? n.intValue() : wrong(key, "a 32-bit integer");
    }

    /** An integer of 32 bits, or {@code absent} if there is no such key. */
    public int integer(String key, int absent) {
        return has(key) ? integer(key) : absent;
    }

    /** A number of any type. */
    public double number(String key) {
        return value(key) instanceof Number n ? n.doubleValue() : wrong(key, "a number");
    }

    /** A number of any type, or {@code absent} if there is no such key. */
    public double number(String key, double absent) {
        return has(key) ? number(key) : absent;
    }

    /** True or false. */
    public boolean flag(String key) {
        return value(key) instanceof Boolean b ? b : wrong(key, "true or false");
    }

    /** True or false, or {@code absent} if there is no such key. */
    public boolean flag(String key, boolean absent) {
        return has(key) ? flag(key) : absent;
    }

    /** An array. */
    public GgufArray array(String key) {
        return value(key) instanceof GgufArray a ? a : wrong(key, "an array");
    }

    /** An array of strings, decoded as they are asked for. */
    public List<String> strings(String key) {
        return array(key).strings();
    }

    private Object value(String key) {
        Object value = metadata.get(key);
        if (value == null) {
            throw new IllegalArgumentException(path + " has no key \"" + key + "\"" + nearest(key, metadata));
        }
        return value;
    }

    private <T> T wrong(String key, String expected) {
        Object value = metadata.get(key);
        String is = value instanceof GgufArray a
                ? "an array of " + a.size() + " " + a.elementType()
                : JsonObject.describe(value);
        throw new IllegalArgumentException(path + ": key \"" + key + "\" must be " + expected + " but is " + is);
    }

    private static String nearest(String name, Map<String, ?> among) {
        return Json.nearest(name, among.keySet())
                .map(near -> "; the nearest is \"" + Shapes.shorten(near) + "\"")
                .orElse("; it has none");
    }

    /** The number that stands for a type, -1 if GGUF has no such type. */
    static int ggmlNumber(DType dtype) {
        return GGML_TYPES.entrySet().stream()
                .filter(e -> e.getValue().equals(dtype.name()))
                .map(Map.Entry::getKey)
                .findFirst()
                .orElse(-1);
    }

    private static Map<Integer, String> ggmlTypes() {
        Map<Integer, String> types = new LinkedHashMap<>();
        String[] names = {
            "F32", "F16", "Q4_0", "Q4_1", null, null, "Q5_0", "Q5_1", "Q8_0", "Q8_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K",
            "Q6_K", "Q8_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS", "I8", "I16",
            "I32", "I64", "F64", "IQ1_M", "BF16", null, null, null, "TQ1_0", "TQ2_0", null, null, null, "MXFP4",
            "NVFP4", "Q1_0"
        };
        for (int i = 0; i < names.length; i++) {
            if (names[i] != null) {
                types.put(i, names[i]);
            }
        }
        return Collections.unmodifiableMap(types);
    }

    @Override
    public String toString() {
        return path + ": " + tensors.size() + " tensors, " + metadata.size() + " keys";
    }
}
