package anneal.io;

import anneal.tensor.DType;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadFeature;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Tensors of a safetensors file, or of several under an index, mapped and read in place.
 *
 * <p>Layout: 8 bytes with the header's length, a JSON header {@code {"name": {"dtype": "F32", "shape": [2, 3],
 * "data_offsets": [0, 24]}, ..., "__metadata__": {"format": "pt"}}}, then the numbers without holes (little endian).
 * Everything is checked before anything is used: a header that lies ends in one sentence, not in memory running out.
 *
 * <p>Source: the format's description in github.com/huggingface/safetensors; whatever that library writes in these types
 * is read. Tensors that an index does not list are left out with a warning. Writing: {@link SafetensorsWriter}.
 */
public final class Safetensors {
    /** The longest header that the format allows. */
    static final long MAX_HEADER = 100_000_000;

    private static final int MAX_RANK = 64;

    /** Types of the format that {@link DType} has, spelled alike in both; the order in which they are written. */
    static final List<DType> TYPES = List.of(
            DType.I64,
            DType.F64,
            DType.F32,
            DType.I32,
            DType.BF16,
            DType.F16,
            DType.I16,
            DType.I8,
            DType.U8,
            DType.BOOL);

    private static final JsonFactory JSON = JsonFactory.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .disable(StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION)
            .build();

    private static final Logger LOG = LoggerFactory.getLogger(Safetensors.class);

    private final Path path;
    private final Map<String, StoredTensor> tensors;
    private final Map<String, String> metadata;

    private Safetensors(Path path, Map<String, StoredTensor> tensors, Map<String, String> metadata) {
        this.path = path;
        this.tensors = Collections.unmodifiableMap(tensors);
        this.metadata = Collections.unmodifiableMap(metadata);
    }

    /**
     * Opens a safetensors file, an index ({@code *.safetensors.index.json}), or a folder that holds
     * {@code model.safetensors} or {@code model.safetensors.index.json}.
     *
     * @param arena how long the tensors live; shared or automatic if several threads read them
     * @throws UncheckedIOException if a file is missing or cannot be read
     * @throws IllegalArgumentException if a file is not what it says; the message names file, tensor and numbers
     */
    public static Safetensors open(Path path, Arena arena) {
        if (Files.isDirectory(path)) {
            Path single = path.resolve("model.safetensors");
            Path index = path.resolve("model.safetensors.index.json");
            if (!Files.exists(single) && !Files.exists(index)) {
                throw new IllegalArgumentException(
                        path + " holds neither model.safetensors nor model.safetensors.index.json");
            }
            return open(Files.exists(single) ? single : index, arena);
        }
        return path.getFileName().toString().endsWith(".json") ? openIndex(path, arena) : openFile(path, arena);
    }

    /** All tensors by name: in the order of their bytes, with an index in the order of its weight_map. */
    public Map<String, StoredTensor> tensors() {
        return tensors;
    }

    /** A tensor that must be there; the message names the nearest one that is. */
    public StoredTensor get(String name) {
        StoredTensor tensor = tensors.get(name);
        if (tensor == null) {
            throw new IllegalArgumentException(path + " has no tensor \"" + name + "\""
                    + Json.nearest(name, tensors.keySet())
                            .map(near -> "; the nearest is \"" + Shapes.shorten(near) + "\"")
                            .orElse("; it is empty"));
        }
        return tensor;
    }

    /** The strings under {@code __metadata__}; with an index, of all files together. */
    public Map<String, String> metadata() {
        return metadata;
    }

    private static Safetensors openIndex(Path index, Arena arena) {
        JsonObject weightMap = Json.read(index).object("weight_map");
        Map<String, Safetensors> shards = new LinkedHashMap<>();
        Map<String, StoredTensor> tensors = new LinkedHashMap<>();
        Map<String, String> metadata = new LinkedHashMap<>();
        List<String> absent = new ArrayList<>();
        Set<String> missing = new LinkedHashSet<>();
        for (String name : weightMap.keys()) {
            String file = weightMap.string(name);
            if (file.isEmpty() || file.contains("/") || file.contains("\\") || file.equals("..")) {
                throw weightMap.error(name, "the name of a file in the same folder");
            }
            Path shard = index.resolveSibling(file);
            if (!shards.containsKey(file)) {
                if (!Files.exists(shard)) {
                    missing.add(file);
                    continue;
                }
                shards.put(file, openFile(shard, arena));
                metadata.putAll(shards.get(file).metadata);
            }
            StoredTensor tensor = shards.get(file).tensors.get(name);
            if (tensor == null) {
                absent.add("\"" + Shapes.shorten(name) + "\" in " + file);
            } else {
                tensors.put(name, tensor);
            }
        }
        if (!missing.isEmpty()) {
            throw new IllegalArgumentException(index + " needs files that are missing: " + some(missing));
        }
        if (!absent.isEmpty()) {
            throw new IllegalArgumentException(index + " lists tensors that are absent: " + some(absent));
        }
        shards.forEach((file, shard) -> shard.tensors.keySet().stream()
                .filter(name -> !tensors.containsKey(name))
                .forEach(name -> LOG.warn("{} does not list tensor \"{}\" of {}: left out", index, name, file)));
        return new Safetensors(index, tensors, metadata);
    }

    private static String some(java.util.Collection<String> names) {
        String first = String.join(", ", names.stream().limit(20).toList());
        return names.size() <= 20 ? first : first + " and " + (names.size() - 20) + " more";
    }

    private static Safetensors openFile(Path file, Arena arena) {
        MemorySegment bytes = MappedFile.map(file, arena);
        try {
            return parse(file, bytes);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(file + ": " + e.getMessage(), e.getCause());
        }
    }

    private static Safetensors parse(Path file, MemorySegment bytes) {
        if (bytes.byteSize() < 8) {
            throw new IllegalArgumentException(
                    "no safetensors file: it has " + bytes.byteSize() + " bytes, a header takes at least 8");
        }
        long header = bytes.get(LittleEndian.LONG, 0);
        if (header < 0 || header > MAX_HEADER) {
            throw new IllegalArgumentException("no safetensors file: a header of " + Long.toUnsignedString(header)
                    + " bytes, at most " + MAX_HEADER + " are allowed");
        }
        if (header > bytes.byteSize() - 8) {
            throw new IllegalArgumentException("truncated: the header should have " + header + " bytes, but only "
                    + (bytes.byteSize() - 8) + " follow its length");
        }
        MemorySegment data = bytes.asSlice(8 + header);
        Map<String, String> metadata = new LinkedHashMap<>();
        List<Entry> entries = readHeader(bytes.asSlice(8, header).toArray(LittleEndian.BYTE), metadata);
        entries.sort(Comparator.comparingLong(Entry::begin).thenComparingLong(Entry::end));
        requireSeamless(entries, data.byteSize());
        Map<String, StoredTensor> tensors = LinkedHashMap.newLinkedHashMap(entries.size());
        for (Entry e : entries) {
            tensors.put(e.name, new StoredTensor(e.name, e.dtype, e.shape, data.asSlice(e.begin, e.end - e.begin)));
        }
        return new Safetensors(file, tensors, metadata);
    }

    private record Entry(String name, DType dtype, long[] shape, long begin, long end) {}

    /** The data section is all tensors and nothing else. */
    private static void requireSeamless(List<Entry> sorted, long size) {
        long at = 0;
        String before = "the header";
        for (Entry e : sorted) {
            String here = "tensor \"" + Shapes.shorten(e.name) + "\"";
            if (e.end > size) {
                throw new IllegalArgumentException(
                        "truncated or wrong: " + here + " ends at byte " + e.end + " of the data, which has " + size);
            }
            if (e.begin != at) {
                throw new IllegalArgumentException(here + " begins at byte " + e.begin + " of the data, but " + before
                        + " ends at " + at + (e.begin < at ? ": they overlap" : ": there is a hole"));
            }
            long need = Shapes.bytes(Shapes.shorten(e.name), e.dtype, e.shape);
            if (need != e.end - e.begin) {
                throw new IllegalArgumentException(here + ": " + e.dtype + " " + Arrays.toString(e.shape) + " takes "
                        + need + " bytes, but its offsets " + e.begin + ", " + e.end + " span " + (e.end - e.begin));
            }
            at = e.end;
            before = here;
        }
        if (at != size) {
            throw new IllegalArgumentException(
                    "the data has " + size + " bytes, but the tensors end at byte " + at + ": there is a hole");
        }
    }

    private static List<Entry> readHeader(byte[] utf8, Map<String, String> metadata) {
        if (utf8.length == 0 || utf8[0] != '{') {
            throw new IllegalArgumentException("no safetensors file: its header does not begin with '{'");
        }
        List<Entry> entries = new ArrayList<>();
        String text;
        try {
            text = Utf8.decode(utf8);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException("its header is " + e.getMessage(), e);
        }
        try (JsonParser json = JSON.createParser(text)) {
            json.nextToken();
            while (json.nextToken() == JsonToken.FIELD_NAME) {
                String name = json.currentName();
                json.nextToken();
                if (name.equals("__metadata__")) {
                    readMetadata(json, metadata);
                } else {
                    entries.add(readEntry(json, name));
                }
            }
            if (json.currentToken() != JsonToken.END_OBJECT || json.nextToken() != null) {
                throw new IllegalArgumentException("its header is no JSON object: text follows the last brace");
            }
        } catch (JsonProcessingException e) {
            throw new IllegalArgumentException("its header is no valid JSON: " + Json.problem(e), e);
        } catch (IOException e) { // from a string: cannot happen
            throw new UncheckedIOException(e);
        }
        return entries;
    }

    private static void readMetadata(JsonParser json, Map<String, String> to) throws IOException {
        if (json.currentToken() == JsonToken.VALUE_NULL) {
            return;
        }
        require(json, JsonToken.START_OBJECT, "__metadata__", "an object of strings");
        while (json.nextToken() == JsonToken.FIELD_NAME) {
            String key = json.currentName();
            json.nextToken();
            require(json, JsonToken.VALUE_STRING, "__metadata__." + Shapes.shorten(key), "a string");
            to.put(key, json.getText());
        }
    }

    private static Entry readEntry(JsonParser json, String name) throws IOException {
        String here = "tensor \"" + Shapes.shorten(name) + "\"";
        require(json, JsonToken.START_OBJECT, here, "an object with dtype, shape and data_offsets");
        DType dtype = null;
        long[] shape = null;
        long[] offsets = null;
        while (json.nextToken() == JsonToken.FIELD_NAME) {
            String field = json.currentName();
            json.nextToken();
            switch (field) {
                case "dtype" -> dtype = readDType(json, here);
                case "shape" -> shape = readNumbers(json, here + ": shape", MAX_RANK);
                case "data_offsets" -> offsets = readNumbers(json, here + ": data_offsets", 2);
                default -> json.skipChildren(); // later versions of the format may say more
            }
        }
        if (dtype == null || shape == null || offsets == null) {
            throw new IllegalArgumentException(
                    here + " has no " + (dtype == null ? "dtype" : shape == null ? "shape" : "data_offsets"));
        }
        if (offsets.length != 2 || offsets[0] > offsets[1]) {
            throw new IllegalArgumentException(
                    here + ": data_offsets must be [begin, end] but are " + Arrays.toString(offsets));
        }
        return new Entry(name, dtype, shape, offsets[0], offsets[1]);
    }

    private static DType readDType(JsonParser json, String here) throws IOException {
        require(json, JsonToken.VALUE_STRING, here + ": dtype", "a string");
        String spelled = json.getText();
        return TYPES.stream()
                .filter(type -> type.name().equals(spelled))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException(here + " is stored as " + Shapes.shorten(spelled)
                        + ", which is not supported; supported are " + TYPES));
    }

    private static long[] readNumbers(JsonParser json, String here, int most) throws IOException {
        require(json, JsonToken.START_ARRAY, here, "a list of integers");
        long[] numbers = new long[most];
        int n = 0;
        while (json.nextToken() != JsonToken.END_ARRAY) {
            if (n == most) {
                throw new IllegalArgumentException(here + " has more than " + most + " numbers");
            }
            require(json, JsonToken.VALUE_NUMBER_INT, here, "a list of integers");
            if (json.getNumberType() == JsonParser.NumberType.BIG_INTEGER || json.getLongValue() < 0) {
                throw new IllegalArgumentException(
                        here + " must hold numbers from 0 to 2^63 - 1 but has " + Shapes.shorten(json.getText()));
            }
            numbers[n++] = json.getLongValue();
        }
        return Arrays.copyOf(numbers, n);
    }

    private static void require(JsonParser json, JsonToken expected, String here, String rule) throws IOException {
        if (json.currentToken() != expected) {
            String text = json.currentToken() == null ? "nothing" : Shapes.shorten(json.getText());
            throw new IllegalArgumentException(here + " must be " + rule + " but is " + text);
        }
    }

    @Override
    public String toString() {
        return path + ": " + tensors.size() + " tensors";
    }
}
