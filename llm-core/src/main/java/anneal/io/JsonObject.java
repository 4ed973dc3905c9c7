package anneal.io;

import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * A JSON object with typed access: the wrong type or a missing key is an {@link IllegalArgumentException} that names
 * file, key, what was expected and what stands there. A key that is null counts as missing, as Hugging Face files
 * mean it.
 */
public final class JsonObject {
    private final Map<String, Object> map;
    private final String where;

    /** A view of {@code map}; {@code where} begins the messages (a file, a file and a key). */
    public JsonObject(Map<String, Object> map, String where) {
        this.map = Collections.unmodifiableMap(map);
        this.where = where;
    }

    /** The plain map: strings, numbers, Booleans, nulls, lists and maps. */
    public Map<String, Object> map() {
        return map;
    }

    /** Where this stands: the beginning of every message. */
    public String where() {
        return where;
    }

    /** All keys in the order of the file. */
    public Set<String> keys() {
        return map.keySet();
    }

    /** True if the key is there and not null. */
    public boolean has(String key) {
        return map.get(key) != null;
    }

    /** The value of a key that must be there. */
    public Object get(String key) {
        Object value = map.get(key);
        if (value == null) {
            throw missing(key);
        }
        return value;
    }

    /** A string. */
    public String string(String key) {
        return get(key) instanceof String s ? s : wrong(key, "a string");
    }

    /** A string, or {@code absent} if there is none. */
    public String string(String key, String absent) {
        return has(key) ? string(key) : absent;
    }

    /** An integer of 32 bits. */
    public int integer(String key) {
        return get(key) instanceof Integer i ? i : wrong(key, "an integer");
    }

    /** An integer of 32 bits, or {@code absent} if there is none. */
    public int integer(String key, int absent) {
        return has(key) ? integer(key) : absent;
    }

    /** An integer of 64 bits. */
    public long longInteger(String key) {
        Object value = get(key);
        return value instanceof Integer || value instanceof Long
                ? ((Number) value).longValue()
                : wrong(key, "an integer");
    }

    /** An integer of 64 bits, or {@code absent} if there is none. */
    public long longInteger(String key, long absent) {
        return has(key) ? longInteger(key) : absent;
    }

    /** A number with or without a fraction. */
    public double number(String key) {
        return get(key) instanceof Number n ? n.doubleValue() : wrong(key, "a number");
    }

    /** A number with or without a fraction, or {@code absent} if there is none. */
    public double number(String key, double absent) {
        return has(key) ? number(key) : absent;
    }

    /** True or false. */
    public boolean flag(String key) {
        return get(key) instanceof Boolean b ? b : wrong(key, "true or false");
    }

    /** True or false, or {@code absent} if there is neither. */
    public boolean flag(String key, boolean absent) {
        return has(key) ? flag(key) : absent;
    }

    /** An object inside this one. */
    @SuppressWarnings("unchecked")
    public JsonObject object(String key) {
        return get(key) instanceof Map<?, ?> m
                ? new JsonObject((Map<String, Object>) m, where + ": " + key)
                : wrong(key, "an object");
    }

    /** A list of anything. */
    @SuppressWarnings("unchecked")
    public List<Object> list(String key) {
        return get(key) instanceof List<?> l ? Collections.unmodifiableList((List<Object>) l) : wrong(key, "a list");
    }

    /** A list of objects. */
    @SuppressWarnings("unchecked")
    public List<JsonObject> objects(String key) {
        List<Object> list = list(key);
        List<JsonObject> objects = new ArrayList<>(list.size());
        for (int i = 0; i < list.size(); i++) {
            if (!(list.get(i) instanceof Map<?, ?> m)) {
                throw wrongElement(key, i, "an object", list.get(i));
            }
            objects.add(new JsonObject((Map<String, Object>) m, where + ": " + key + "[" + i + "]"));
        }
        return objects;
    }

    /** A list of strings. */
    public List<String> strings(String key) {
        List<Object> list = list(key);
        List<String> strings = new ArrayList<>(list.size());
        for (int i = 0; i < list.size(); i++) {
            if (!(list.get(i) instanceof String s)) {
                throw wrongElement(key, i, "a string", list.get(i));
            }
            strings.add(s);
        }
        return strings;
    }

    /** A list of 32-bit integers. */
    public int[] integers(String key) {
        List<Object> list = list(key);
        int[] integers = new int[list.size()];
        for (int i = 0; i < integers.length; i++) {
            if (!(list.get(i) instanceof Integer n)) {
                throw wrongElement(key, i, "an integer", list.get(i));
            }
            integers[i] = n;
        }
        return integers;
    }

    /** A list of numbers. */
    public double[] numbers(String key) {
        List<Object> list = list(key);
        double[] numbers = new double[list.size()];
        for (int i = 0; i < numbers.length; i++) {
            if (!(list.get(i) instanceof Number n)) {
                throw wrongElement(key, i, "a number", list.get(i));
            }
            numbers[i] = n.doubleValue();
        }
        return numbers;
    }

    /** Fails if there is a key that is not among {@code known}, and names the nearest one that is. */
    public void requireKnown(Collection<String> known) {
        for (String key : map.keySet()) {
            if (!known.contains(key)) {
                throw new IllegalArgumentException(unknown(where, key, known));
            }
        }
    }

    /** An error about the value of {@code key}: "config.json: key "hidden_size" must be positive but is -1". */
    public IllegalArgumentException error(String key, String rule) {
        return new IllegalArgumentException(
                where + ": key \"" + key + "\" must be " + rule + " but is " + describe(map.get(key)));
    }

    static String unknown(String where, String key, Collection<String> known) {
        return where + ": unknown key \"" + Shapes.shorten(key) + "\""
                + Json.nearest(key, known)
                        .map(nearest -> "; the nearest known one is \"" + nearest + "\"")
                        .orElse("");
    }

    private IllegalArgumentException missing(String key) {
        String nearest = Json.nearest(key, map.keySet())
                .map(other -> "; the nearest key there is \"" + Shapes.shorten(other) + "\"")
                .orElse("");
        return new IllegalArgumentException(
                where + ": key \"" + key + "\" is " + (map.containsKey(key) ? "null" : "missing" + nearest));
    }

    private <T> T wrong(String key, String expected) {
        throw error(key, expected);
    }

    private IllegalArgumentException wrongElement(String key, int index, String expected, Object value) {
        return new IllegalArgumentException(
                where + ": key \"" + key + "[" + index + "]\" must be " + expected + " but is " + describe(value));
    }

    /** A value for a message: short, and with its type. */
    static String describe(Object value) {
        return switch (value) {
            case null -> "null";
            case String s -> "the string \"" + Shapes.shorten(s) + "\"";
            case Map<?, ?> m -> "an object of " + m.size() + " keys";
            case List<?> l -> "a list of " + l.size();
            default -> String.valueOf(value);
        };
    }

    @Override
    public String toString() {
        return where + ": " + map;
    }
}
