package anneal.text;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/** Reads a JSON object key by key; a wrong type, a missing key or one that nobody read is an error that names it. */
final class JsonFields {
    private final String file;
    private final String path;
    private final JsonNode node;
    private final Set<String> read = new HashSet<>();

    private JsonFields(String file, String path, JsonNode node) {
        this.file = file;
        this.path = path;
        this.node = node;
    }

    /** @param file named in errors */
    static JsonFields of(String file, JsonNode node) {
        return new JsonFields(file, "", node).checked();
    }

    private JsonFields checked() {
        if (!node.isObject()) {
            throw new IllegalArgumentException(
                    file + ": " + (path.isEmpty() ? "the top level" : path) + " must be an object, not " + kind(node));
        }
        return this;
    }

    String file() {
        return file;
    }

    IllegalArgumentException error(String key, String what) {
        return new IllegalArgumentException(file + ": " + path(key) + " " + what);
    }

    private String path(String key) {
        return path.isEmpty() ? key : path + "." + key;
    }

    /** The value, or null if it is missing or null. */
    private JsonNode get(String key) {
        read.add(key);
        JsonNode v = node.get(key);
        return v == null || v.isNull() ? null : v;
    }

    JsonNode node(String key) {
        JsonNode v = get(key);
        if (v == null) {
            throw error(key, "is missing");
        }
        return v;
    }

    String text(String key) {
        JsonNode v = node(key);
        if (!v.isTextual()) {
            throw error(key, "must be a string, not " + kind(v));
        }
        return v.textValue();
    }

    String text(String key, String otherwise) {
        return get(key) == null ? otherwise : text(key);
    }

    boolean flag(String key, boolean otherwise) {
        JsonNode v = get(key);
        if (v == null) {
            return otherwise;
        }
        if (!v.isBoolean()) {
            throw error(key, "must be true or false, not " + kind(v));
        }
        return v.booleanValue();
    }

    int number(String key, int otherwise) {
        return get(key) == null ? otherwise : number(key);
    }

    int number(String key) {
        JsonNode v = node(key);
        if (!v.isIntegralNumber() || !v.canConvertToInt()) {
            throw error(key, "must be an integer, not " + kind(v));
        }
        return v.intValue();
    }

    /** The object under {@code key}, if it is there and not null. */
    Optional<JsonFields> object(String key) {
        JsonNode v = get(key);
        return v == null ? Optional.empty() : Optional.of(new JsonFields(file, path(key), v).checked());
    }

    /** The objects in the array under {@code key}. */
    List<JsonFields> objects(String key) {
        JsonNode v = node(key);
        if (!v.isArray()) {
            throw error(key, "must be an array, not " + kind(v));
        }
        List<JsonFields> out = new ArrayList<>(v.size());
        for (int i = 0; i < v.size(); i++) {
            out.add(new JsonFields(file, path(key) + "[" + i + "]", v.get(i)).checked());
        }
        return out;
    }

    Set<String> keys() {
        Set<String> keys = new java.util.LinkedHashSet<>();
        node.fieldNames().forEachRemaining(keys::add);
        return keys;
    }

    /** These keys need no reading: they change nothing here. */
    JsonFields ignore(String... keys) {
        read.addAll(List.of(keys));
        return this;
    }

    /** Call when all keys that mean something were read. */
    void done() {
        for (String key : keys()) {
            if (!read.contains(key)) {
                throw error(key, "is not understood");
            }
        }
    }

    static String kind(JsonNode v) {
        return switch (v.getNodeType()) {
            case ARRAY -> "an array";
            case OBJECT -> "an object";
            case STRING -> "the string \"" + v.textValue() + "\"";
            default -> v.toString();
        };
    }
}
