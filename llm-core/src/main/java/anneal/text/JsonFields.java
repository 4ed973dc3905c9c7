package anneal.text;

import anneal.io.JsonObject;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** A {@link JsonObject} that remembers which keys were read: one that nobody understood is an error. */
final class JsonFields {
    private final JsonObject object;
    private final Set<String> read = new HashSet<>();

    JsonFields(JsonObject object) {
        this.object = object;
    }

    /** An object in the order of the arguments, key and value in turn; values may be null. */
    static Map<String, Object> object(Object... keysAndValues) {
        Map<String, Object> map = new LinkedHashMap<>();
        for (int i = 0; i < keysAndValues.length; i += 2) {
            map.put((String) keysAndValues[i], keysAndValues[i + 1]);
        }
        return map;
    }

    /** Where this stands: the beginning of every message. */
    String where() {
        return object.where();
    }

    /** {@code key} must be {@code rule} but is not. */
    IllegalArgumentException error(String key, String rule) {
        return object.error(key, rule);
    }

    boolean has(String key) {
        read.add(key);
        return object.has(key);
    }

    Object get(String key) {
        read.add(key);
        return object.get(key);
    }

    String text(String key) {
        read.add(key);
        return object.string(key);
    }

    String text(String key, String absent) {
        return has(key) ? text(key) : absent;
    }

    /** A string of one UTF-16 unit. */
    char character(String key, String absent) {
        String s = text(key, absent);
        if (s.length() != 1) {
            throw error(key, "one character");
        }
        return s.charAt(0);
    }

    boolean flag(String key, boolean absent) {
        return has(key) ? object.flag(key) : absent;
    }

    int number(String key) {
        read.add(key);
        return object.integer(key);
    }

    int number(String key, int absent) {
        return has(key) ? number(key) : absent;
    }

    int[] numbers(String key) {
        read.add(key);
        return object.integers(key);
    }

    List<Object> list(String key) {
        read.add(key);
        return object.list(key);
    }

    /** The object under {@code key}, if it is there and not null. */
    Optional<JsonFields> find(String key) {
        return has(key) ? Optional.of(fields(key)) : Optional.empty();
    }

    /** The object under {@code key}. */
    JsonFields fields(String key) {
        read.add(key);
        return new JsonFields(object.object(key));
    }

    /** The objects in the list under {@code key}. */
    List<JsonFields> each(String key) {
        read.add(key);
        return object.objects(key).stream().map(JsonFields::new).toList();
    }

    Set<String> keys() {
        return object.keys();
    }

    /** These keys need no reading: they change nothing here. */
    JsonFields ignore(String... keys) {
        read.addAll(List.of(keys));
        return this;
    }

    /** Call when all keys that mean something were read. */
    void done() {
        object.requireKnown(read);
    }
}
