package anneal.text.jinja;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** {@code a.b}, {@code a[b]} and {@code a[b:c:d]}: attribute or item first, then the other, as Jinja does. */
final class Access {
    private static final Set<String> CHANGES_LIST =
            Set.of("append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove");
    private static final Set<String> CHANGES_DICT = Set.of("clear", "pop", "popitem", "setdefault", "update");

    private Access() {}

    static Object attribute(Object object, String name) {
        Values.defined(object);
        Object own = ownAttribute(object, name);
        if (!(own instanceof Values.Undefined)) {
            return own;
        }
        if (object instanceof Map<?, ?> map && Values.has(map, name)) {
            return Values.lookup(map, name);
        }
        return own;
    }

    static Object item(Object object, Object index) {
        Values.defined(object);
        if (object instanceof Map<?, ?> map) {
            if (!(index instanceof Values.Undefined) && Values.has(map, index)) {
                return Values.lookup(map, index);
            }
        } else if (object instanceof List<?> list && isIndex(index)) {
            long i = Num.index(index);
            long at = i < 0 ? i + list.size() : i;
            if (at >= 0 && at < list.size() && !(list instanceof Values.View)) {
                return list.get((int) at);
            }
        } else if (object instanceof String s && isIndex(index)) {
            Budget.chargeFor(s);
            long i = Num.index(index);
            int length = Str.length(s);
            long at = i < 0 ? i + length : i;
            if (at >= 0 && at < length) {
                int from = s.offsetByCodePoints(0, (int) at);
                return s.substring(from, s.offsetByCodePoints(from, 1));
            }
        } else if (object instanceof Values.Namespace n
                && index instanceof String key
                && n.attributes.containsKey(key)) {
            return n.attributes.get(key);
        }
        if (index instanceof String name) {
            return ownAttribute(object, name);
        }
        return missing(object, index);
    }

    private static boolean isIndex(Object o) {
        return Num.isInt(o) || o instanceof Boolean;
    }

    /** Methods and attributes, without items. */
    static Object ownAttribute(Object object, String name) {
        if (name.startsWith("_")) {
            return unsafe(object, name);
        }
        if (object instanceof Values.Tuple t && t.names.contains(name)) {
            return t.get(t.names.indexOf(name));
        }
        Object value = switch (object) {
            case LoopState loop -> loop.attribute(name);
            case Values.Namespace n -> n.attributes.containsKey(name) ? n.attributes.get(name) : missing(object, name);
            case Macro m -> macro(m, name);
            case String s -> Methods.of(s, name);
            case Map<?, ?> map -> CHANGES_DICT.contains(name) ? unsafe(object, name) : Methods.of(map, name);
            case List<?> list ->
                CHANGES_LIST.contains(name) && Values.typeName(list).equals("list")
                        ? unsafe(object, name)
                        : Methods.of(list, name);
            case null -> null;
            default -> Methods.other(object, name);
        };
        boolean none = object instanceof Values.Namespace || object instanceof LoopState;
        return value == null && !none ? missing(object, name) : value;
    }

    private static Object macro(Macro m, String name) {
        return switch (name) {
            case "name" -> m.name();
            case "arguments" -> new Values.Tuple(List.copyOf(m.node().parameters()), List.of());
            case "catch_kwargs" -> m.node().readsKwargs();
            case "catch_varargs" -> m.node().readsVarargs();
            case "caller" -> m.node().readsCaller();
            default -> null;
        };
    }

    private static Values.Undefined missing(Object object, Object index) {
        String what = object == null ? "None" : Values.typeName(object) + " object";
        return new Values.Undefined(
                index instanceof String name
                        ? "'" + what + "' has no attribute " + Repr.repr(name)
                        : what + " has no element " + Repr.repr(index));
    }

    private static Values.Undefined unsafe(Object object, String name) {
        return new Values.Undefined(
                "access to attribute " + Repr.repr(name) + " of '" + Values.typeName(object) + "' object is unsafe.");
    }

    static Object slice(Object object, Object start, Object stop, Object step) {
        Values.defined(object);
        if (!(object instanceof String) && (!(object instanceof List) || object instanceof Values.View)) {
            throw TemplateError.of("'" + Values.typeName(object) + "' object is not subscriptable");
        }
        Budget.chargeFor(object);
        List<Object> items = Values.iterate(object);
        long by = step == null ? 1 : bound(step);
        if (by == 0) {
            throw TemplateError.of("slice step cannot be zero");
        }
        int n = items.size();
        long from = by > 0 ? clip(start, 0, 0, n, n) : clip(start, n - 1, -1, n - 1, n);
        long to = by > 0 ? clip(stop, n, 0, n, n) : clip(stop, -1, -1, n - 1, n);
        List<Object> out = new ArrayList<>();
        for (long i = from; by > 0 ? i < to : i > to; i += by) {
            out.add(items.get((int) i));
        }
        Budget.charge(out.size());
        return object instanceof String
                ? Str.join("", out)
                : object instanceof Values.Tuple ? new Values.Tuple(out, List.of()) : out;
    }

    private static long clip(Object bound, long otherwise, long low, long high, int n) {
        if (bound == null) {
            return otherwise;
        }
        long i = bound(bound);
        return Math.clamp(i < 0 ? i + n : i, low, high);
    }

    private static long bound(Object o) {
        if (!isIndex(Values.defined(o))) {
            throw TemplateError.of("slice indices must be integers or None or have an __index__ method");
        }
        return Num.index(o);
    }
}
