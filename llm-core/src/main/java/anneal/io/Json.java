package anneal.io;

import com.fasterxml.jackson.core.JacksonException;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.core.json.JsonWriteFeature;
import com.fasterxml.jackson.core.util.DefaultIndenter;
import com.fasterxml.jackson.core.util.DefaultPrettyPrinter;
import com.fasterxml.jackson.core.util.Separators;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.MapperFeature;
import com.fasterxml.jackson.databind.ObjectWriter;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.cfg.CoercionAction;
import com.fasterxml.jackson.databind.cfg.CoercionInputShape;
import com.fasterxml.jackson.databind.cfg.EnumFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.type.LogicalType;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Collection;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/**
 * JSON in and out: strict, with errors of one sentence that name file, key and what was expected.
 *
 * <p>Reading accepts what Python's json writes (NaN and Infinity too) and rejects duplicate keys, trailing text and
 * invalid UTF-8. Objects become maps in the order of the file, numbers Integer, Long, BigInteger or Double.
 *
 * <p>Records become objects with snake_case keys; a sealed interface becomes the object of its record with one key
 * more, {@code "type"}, that says which record it is (its simple name in snake_case); constants of enums are written in
 * lower case and read in any. A number that is missing is an error, anything else that is missing is null.
 */
public final class Json {
    static final JsonMapper MAPPER = JsonMapper.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .disable(StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION)
            .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS)
            .disable(JsonWriteFeature.WRITE_NAN_AS_STRINGS)
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .enable(DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES)
            .enable(DeserializationFeature.FAIL_ON_NUMBERS_FOR_ENUMS)
            .disable(DeserializationFeature.ACCEPT_FLOAT_AS_INT)
            .enable(EnumFeature.WRITE_ENUMS_TO_LOWERCASE)
            .enable(MapperFeature.ACCEPT_CASE_INSENSITIVE_ENUMS)
            .disable(MapperFeature.ALLOW_COERCION_OF_SCALARS)
            .withCoercionConfig(
                    LogicalType.Textual,
                    config -> config.setCoercion(CoercionInputShape.Integer, CoercionAction.Fail)
                            .setCoercion(CoercionInputShape.Float, CoercionAction.Fail)
                            .setCoercion(CoercionInputShape.Boolean, CoercionAction.Fail))
            .propertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE)
            .annotationIntrospector(new SealedTypes())
            .build();

    private static final ObjectWriter PRETTY = MAPPER.writer(new DefaultPrettyPrinter(
                    Separators.createDefaultInstance().withObjectFieldValueSpacing(Separators.Spacing.AFTER))
            .withObjectIndenter(new DefaultIndenter("  ", "\n"))
            .withArrayIndenter(new DefaultIndenter("  ", "\n")));

    private static final String BYTE_ORDER_MARK = "\ufeff";

    private Json() {}

    /**
     * The object in a file.
     *
     * @throws UncheckedIOException if the file cannot be read
     * @throws IllegalArgumentException if it is no JSON or no object
     */
    public static JsonObject read(Path file) {
        return asObject(readAny(file), file.toString());
    }

    /** Whatever stands in a file: a map, a list, a string, a number, a Boolean or null. */
    public static Object readAny(Path file) {
        byte[] bytes;
        try {
            bytes = Files.readAllBytes(file);
        } catch (NoSuchFileException e) {
            throw new UncheckedIOException(file + ": no such file", e);
        } catch (IOException e) {
            throw new UncheckedIOException(file + " cannot be read: " + e.getMessage(), e);
        }
        String text;
        try {
            text = Utf8.decode(bytes);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(file + ": " + e.getMessage(), e);
        }
        return parseAny(text.startsWith(BYTE_ORDER_MARK) ? text.substring(1) : text, file.toString());
    }

    /** The object in a text; {@code where} begins the messages: a file, or a file and a line. */
    public static JsonObject parse(String text, String where) {
        return asObject(parseAny(text, where), where);
    }

    /** Whatever stands in a text. */
    public static Object parseAny(String text, String where) {
        if (text.isBlank()) {
            throw new IllegalArgumentException(where + " is empty, not JSON");
        }
        try {
            return MAPPER.readValue(text, Object.class);
        } catch (JsonProcessingException e) {
            throw new IllegalArgumentException(where + ": " + problem(e), e);
        }
    }

    /** The record in a file; an unknown key is an error. */
    public static <T> T read(Path file, Class<T> type) {
        return JsonRecords.convert(read(file), type, UnknownKeys.REJECT);
    }

    /** What happens to a key that the record does not have. */
    public enum UnknownKeys {
        /** An error that names the nearest known key. */
        REJECT,
        /** The same sentence as a warning in the log; for files of others that know more than we do. */
        WARN
    }

    /** The record with the contents of {@code object}. */
    public static <T> T convert(JsonObject object, Class<T> type, UnknownKeys unknown) {
        return JsonRecords.convert(object, type, unknown);
    }

    /** The object that {@link #write} would write for a record. */
    public static JsonObject toObject(Object record) {
        return parse(line(record), record.getClass().getSimpleName());
    }

    /** Writes a record, map or list, two spaces a level; the file is replaced as a whole or not at all. */
    public static void write(Path file, Object value) {
        byte[] utf8 = text(value).getBytes(StandardCharsets.UTF_8);
        try {
            AtomicFile.write(file, utf8);
        } catch (IOException e) {
            throw new UncheckedIOException(file + " cannot be written: " + e.getMessage(), e);
        }
    }

    /** A record, map or list on many lines, the last one ended. */
    public static String text(Object value) {
        try {
            return PRETTY.writeValueAsString(value) + "\n";
        } catch (JsonProcessingException e) {
            throw new IllegalArgumentException(
                    "no JSON for a " + value.getClass().getName() + ": " + problem(e), e);
        }
    }

    /** A record, map or list on one line, not ended: for JSONL. */
    public static String line(Object value) {
        try {
            return MAPPER.writeValueAsString(value);
        } catch (JsonProcessingException e) {
            throw new IllegalArgumentException(
                    "no JSON for a " + value.getClass().getName() + ": " + problem(e), e);
        }
    }

    /**
     * The candidate with the smallest edit distance (insert, delete, replace, swap of neighbours; letter case costs
     * nothing), the first of several; empty if there is no candidate.
     */
    public static Optional<String> nearest(String name, Collection<String> candidates) {
        String best = null;
        int least = Integer.MAX_VALUE;
        for (String candidate : candidates) {
            int distance = distance(name.toLowerCase(Locale.ROOT), candidate.toLowerCase(Locale.ROOT));
            if (distance < least) {
                least = distance;
                best = candidate;
            }
        }
        return Optional.ofNullable(best);
    }

    /** The known name that {@code name} is a slip of: one or two letters apart, but not the same. */
    public static Optional<String> slip(String name, Collection<String> known) {
        return nearest(name, known).filter(k -> distance(name, k) <= Math.min(2, name.length() / 4));
    }

    private static int distance(String a, String b) {
        int[] beforeLast = new int[b.length() + 1];
        int[] last = new int[b.length() + 1];
        int[] row = new int[b.length() + 1];
        for (int j = 0; j <= b.length(); j++) {
            last[j] = j;
        }
        for (int i = 1; i <= a.length(); i++) {
            row[0] = i;
            for (int j = 1; j <= b.length(); j++) {
                int replace = last[j - 1] + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
                row[j] = Math.min(replace, 1 + Math.min(last[j], row[j - 1]));
                if (i > 1 && j > 1 && a.charAt(i - 1) == b.charAt(j - 2) && a.charAt(i - 2) == b.charAt(j - 1)) {
                    row[j] = Math.min(row[j], beforeLast[j - 2] + 1);
                }
            }
            int[] free = beforeLast;
            beforeLast = last;
            last = row;
            row = free;
        }
        return last[b.length()];
    }

    @SuppressWarnings("unchecked")
    private static JsonObject asObject(Object value, String where) {
        if (value instanceof Map<?, ?> map) {
            return new JsonObject((Map<String, Object>) map, where);
        }
        throw new IllegalArgumentException(where + " must hold a JSON object but holds " + JsonObject.describe(value));
    }

    /** What is wrong, on one line, without the places that the parser names in its own way. */
    public static String reason(JacksonException e) {
        return e.getOriginalMessage().lines().findFirst().orElse("").replaceFirst(" \\(start marker at .*", "");
    }

    /** Line, column and what is wrong there, on one line. */
    static String problem(JsonProcessingException e) {
        String message = reason(e);
        return e.getLocation() == null || e.getLocation().getLineNr() < 1
                ? message
                : "line " + e.getLocation().getLineNr() + ", column "
                        + e.getLocation().getColumnNr() + ": " + message;
    }
}
