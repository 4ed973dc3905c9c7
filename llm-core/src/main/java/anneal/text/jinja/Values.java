package anneal.text.jinja;

import java.math.BigInteger;
import java.util.AbstractList;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What a template computes with. None is null, str is {@link String}, bool is {@link Boolean}, numbers are in
 * {@link Num}, list, tuple, range and dict views are {@link List}s, dict is a {@link Map}.
 */
final class Values {
    private Values() {}

    /** A name or item that is not there; {@code message} is said when it is used. */
    record Undefined(String message) {}

    /** @param names attribute names of the items, or empty */
    static final class Tuple extends AbstractList<Object> {
        private final List<Object> items;
        final List<String> names;

        @SuppressWarnings("unchecked")
        Tuple(List<?> items, List<String> names) {
            this.items = (List<Object>) items;
            this.names = names;
        }

        static Tuple of(Object... items) {
            return new Tuple(Arrays.asList(items), List.of());
        }

        @Override
        public Object get(int i) {
            return items.get(i);
        }

        @Override
        public int size() {
            return items.size();
        }
    }

    static final class Range extends AbstractList<Object> {
        final long start;
        final long stop;
        final long step;
        private final int size;

        Range(long start, long stop, long step, int size) {
            this.start = start;
            this.stop = stop;
            this.step = step;
            this.size = size;
        }

        @Override
        public Object get(int i) {
            return start + i * step;
        }

        @Override
        public int size() {
            return size;
        }
    }

    /** dict_keys, dict_values or dict_items. */
    static final class View extends AbstractList<Object> {
        final String kind;
        private final List<Object> items;

        View(String kind, List<Object> items) {
            this.kind = kind;
            this.items = items;
        }

        @Override
        public Object get(int i) {
            return items.get(i);
        }

        @Override
        public int size() {
            return items.size();
        }
    }

    /** What {@code map}, {@code select} and their like give: can be walked once, has no length. */
    static final class Generator {
        private List<Object> items;

        Generator(List<Object> items) {
            this.items = items;
        }

        List<Object> take() {
            List<Object> out = items;
            items = List.of();
            return out;
        }

        Object takeFirst() {
            Object first = items.getFirst();
            items = items.subList(1, items.size());
            return first;
        }

        boolean isEmpty() {
            return items.isEmpty();
        }
    }

    static final class Namespace {
        final Map<String, Object> attributes = new LinkedHashMap<>();

        void set(String name, Object value) {
            if (name.startsWith("_")) {
                throw TemplateError.of("namespace attribute " + Repr.repr(name) + " must not begin with an underscore");
            }
            attributes.put(name, value);
        }
    }

    /** Something to call. */
    interface Function {
        Object call(Evaluator evaluator, Args args);
    }

    /** A value from Java. */
    static Object fromJava(Object o) {
        return switch (o) {
            case null -> null;
            case String s -> s;
            case Boolean b -> b;
            case Long n -> n;
            case Integer n -> (long) n;
            case Short n -> (long) n;
            case BigInteger n -> Num.integer(n);
            case Double d -> d;
            case Float f -> (double) f;
            case java.math.BigDecimal d -> d.doubleValue();
            case List<?> list -> {
                List<Object> out = new ArrayList<>(list.size());
                list.forEach(item -> out.add(fromJava(item)));
                yield out;
            }
            case Map<?, ?> map -> {
                Map<Object, Object> out = new LinkedHashMap<>();
                map.forEach((k, v) -> out.put(fromJava(k), fromJava(v)));
                yield out;
            }
            default ->
                throw new IllegalArgumentException("template variable of " + o.getClass()
                        + " must be a string, number, boolean, list, map or null");
        };
    }

    static String typeName(Object o) {
        return switch (o) {
            case null -> "NoneType";
            case String s -> "str";
            case Boolean b -> "bool";
            case Long n -> "int";
            case BigInteger n -> "int";
            case Double d -> "float";
            case Tuple t -> "tuple";
            case Range r -> "range";
            case View v -> v.kind;
            case List<?> l -> "list";
            case Map<?, ?> m -> "dict";
            case Generator g -> "generator";
            case Undefined u -> "Undefined";
            case Namespace n -> "Namespace";
            case LoopState l -> "LoopContext";
            case Macro m -> "Macro";
            default -> "builtin_function_or_method";
        };
    }

    static boolean truth(Object o) {
        return switch (o) {
            case null -> false;
            case Undefined u -> false;
            case Boolean b -> b;
            case String s -> !s.isEmpty();
            case Long n -> n != 0;
            case Double d -> d != 0;
            case List<?> l -> !l.isEmpty();
            case Map<?, ?> m -> !m.isEmpty();
            default -> true;
        };
    }

    /** The items to walk over; a dict gives its keys, a str its characters. */
    @SuppressWarnings("unchecked")
    static List<Object> iterate(Object o) {
        return switch (o) {
            case List<?> list -> (List<Object>) list;
            case Map<?, ?> map -> new ArrayList<>(map.keySet());
            case String s -> Str.characters(s);
            case Undefined u -> List.of();
            case Generator g -> g.take();
            case null -> throw TemplateError.of("'NoneType' object is not iterable");
            default -> throw TemplateError.of("'" + typeName(o) + "' object is not iterable");
        };
    }

    static boolean isIterable(Object o) {
        return o instanceof List
                || o instanceof Map
                || o instanceof String
                || o instanceof Undefined
                || o instanceof Generator
                || o instanceof LoopState;
    }

    static long length(Object o) {
        return switch (o) {
            case String s -> s.codePointCount(0, s.length());
            case List<?> l -> l.size();
            case Map<?, ?> m -> m.size();
            case Undefined u -> 0;
            case LoopState l -> l.items.size();
            case null -> throw TemplateError.of("object of type 'NoneType' has no len()");
            default -> throw TemplateError.of("object of type '" + typeName(o) + "' has no len()");
        };
    }

    /** Fails on a value that may not be a key of a dict. */
    static Object key(Object o) {
        if (o instanceof Map || o instanceof List && !(o instanceof Tuple || o instanceof Range)) {
            throw TemplateError.of("unhashable type: '" + typeName(o) + "'");
        }
        return o;
    }

    /** {@code map[key]} with 1, 1.0 and true the same key; null stands for both None and absent: see {@link #has}. */
    static Object lookup(Map<?, ?> map, Object key) {
        Object k = findKey(map, key);
        return map.get(k);
    }

    static boolean has(Map<?, ?> map, Object key) {
        return map.containsKey(findKey(map, key));
    }

    /** {@code map[key] = value}: an equal key stays as it was first written. */
    static void put(Map<Object, Object> map, Object key, Object value) {
        map.put(findKey(map, key), value);
    }

    private static Object findKey(Map<?, ?> map, Object key) {
        key(key);
        if (!map.containsKey(key) && Num.isNumber(key)) {
            for (Object k : map.keySet()) {
                if (equal(k, key)) {
                    return k;
                }
            }
        }
        return key;
    }

    static boolean equal(Object a, Object b) {
        Budget.charge(1);
        if (a == b) {
            return !Num.isNan(a);
        }
        if (Num.isNumber(a) && Num.isNumber(b)) {
            return !Num.isNan(a) && !Num.isNan(b) && Num.compare(a, b) == 0;
        }
        if (a instanceof Undefined || b instanceof Undefined) {
            return a instanceof Undefined && b instanceof Undefined;
        }
        if (a instanceof List<?> x && b instanceof List<?> y) {
            if (!typeName(a).equals(typeName(b)) || x.size() != y.size()) {
                return false;
            }
            for (int i = 0; i < x.size(); i++) {
                if (!equal(x.get(i), y.get(i))) {
                    return false;
                }
            }
            return true;
        }
        if (a instanceof Map<?, ?> x && b instanceof Map<?, ?> y) {
            if (x.size() != y.size()) {
                return false;
            }
            for (Map.Entry<?, ?> e : x.entrySet()) {
                if (!has(y, e.getKey()) || !equal(e.getValue(), lookup(y, e.getKey()))) {
                    return false;
                }
            }
            return true;
        }
        Budget.chargeFor(a);
        return a != null && a.equals(b);
    }

    /** Order of two values as {@code operator} asks for it. */
    static boolean ordered(String operator, Object a, Object b) {
        defined(a);
        defined(b);
        if (Num.isNan(a) || Num.isNan(b)) {
            return false;
        }
        int c = compare(operator, a, b);
        return switch (operator) {
            case "<" -> c < 0;
            case "<=" -> c <= 0;
            case ">" -> c > 0;
            default -> c >= 0;
        };
    }

    static int compare(String operator, Object a, Object b) {
        if (Num.isNumber(a) && Num.isNumber(b)) {
            return Num.compare(a, b);
        }
        if (a instanceof String x && b instanceof String y) {
            Budget.charge(Math.min(x.length(), y.length()));
            return Str.compare(x, y);
        }
        if (a instanceof List<?> x && b instanceof List<?> y && typeName(a).equals(typeName(b))) {
            for (int i = 0; i < Math.min(x.size(), y.size()); i++) {
                if (!equal(x.get(i), y.get(i))) {
                    return compare(operator, x.get(i), y.get(i));
                }
            }
            return Integer.compare(x.size(), y.size());
        }
        throw TemplateError.of("'" + operator + "' not supported between instances of '" + typeName(a) + "' and '"
                + typeName(b) + "'");
    }

    static boolean contains(Object container, Object item) {
        return switch (container) {
            case String s -> {
                Budget.chargeFor(s);
                if (!(item instanceof String part)) {
                    if (item instanceof Undefined u) {
                        throw TemplateError.of(u.message());
                    }
                    throw TemplateError.of("'in <string>' requires string as left operand, not " + typeName(item));
                }
                yield s.contains(part);
            }
            case Map<?, ?> map -> has(map, item);
            case List<?> list -> {
                for (Object o : list) {
                    if (equal(o, item)) {
                        yield true;
                    }
                }
                yield false;
            }
            case Generator g -> contains(g.take(), item);
            case Undefined u -> false;
            case null -> throw TemplateError.of("argument of type 'NoneType' is not iterable");
            default -> throw TemplateError.of("argument of type '" + typeName(container) + "' is not iterable");
        };
    }

    /** The value itself, unless it is undefined. */
    static Object defined(Object o) {
        if (o instanceof Undefined u) {
            throw TemplateError.of(u.message());
        }
        return o;
    }
}
