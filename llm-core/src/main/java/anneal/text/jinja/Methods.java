package anneal.text.jinja;

import anneal.text.jinja.Values.Function;
import anneal.text.jinja.Values.Tuple;
import anneal.text.jinja.Values.View;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.IntPredicate;

/** The methods of str, dict, list, tuple, int and float that change nothing. */
final class Methods {
    private interface Method<T> {
        Object call(T self, Args args);
    }

    private static final Map<String, Method<String>> STRING = new HashMap<>();

    private Methods() {}

    static {
        STRING.put("upper", (s, a) -> Str.upper(s));
        STRING.put("lower", (s, a) -> Str.lower(s));
        STRING.put("casefold", (s, a) -> Str.lower(Str.upper(s)));
        STRING.put("title", (s, a) -> Str.title(s));
        STRING.put("capitalize", (s, a) -> Str.capitalize(s));
        STRING.put("swapcase", (s, a) -> Str.swapCase(s));
        STRING.put("strip", (s, a) -> Str.strip(s, a.string(0, "chars", null), true, true));
        STRING.put("lstrip", (s, a) -> Str.strip(s, a.string(0, "chars", null), true, false));
        STRING.put("rstrip", (s, a) -> Str.strip(s, a.string(0, "chars", null), false, true));
        STRING.put("split", (s, a) -> Str.split(s, a.string(0, "sep", null), a.integer(1, "maxsplit", -1), false));
        STRING.put("rsplit", (s, a) -> Str.split(s, a.string(0, "sep", null), a.integer(1, "maxsplit", -1), true));
        STRING.put("splitlines", (s, a) -> Str.lines(s, a.flag(0, "keepends", false)));
        STRING.put("partition", (s, a) -> partition(s, a.requiredString(0, "sep"), false));
        STRING.put("rpartition", (s, a) -> partition(s, a.requiredString(0, "sep"), true));
        STRING.put(
                "replace",
                (s, a) -> Str.replace(
                        s, a.requiredString(0, "old"), a.requiredString(1, "new"), a.integer(2, "count", -1)));
        STRING.put("startswith", (s, a) -> starts(s, a, true));
        STRING.put("endswith", (s, a) -> starts(s, a, false));
        STRING.put("removeprefix", (s, a) -> {
            String part = a.requiredString(0, "prefix");
            return s.startsWith(part) ? s.substring(part.length()) : s;
        });
        STRING.put("removesuffix", (s, a) -> {
            String part = a.requiredString(0, "suffix");
            return s.endsWith(part) ? s.substring(0, s.length() - part.length()) : s;
        });
        STRING.put("find", (s, a) -> find(s, a, false));
        STRING.put("rfind", (s, a) -> find(s, a, true));
        STRING.put("index", (s, a) -> found(find(s, a, false)));
        STRING.put("rindex", (s, a) -> found(find(s, a, true)));
        STRING.put("count", (s, a) -> count(part(s, a), a.requiredString(0, "sub")));
        STRING.put("join", (s, a) -> joined(s, Values.iterate(Values.defined(a.required(0, "iterable")))));
        STRING.put("format", (s, a) -> Format.braces(s, a.positional(), a.named()));
        STRING.put("center", (s, a) -> padded(s, a, true, true));
        STRING.put("ljust", (s, a) -> padded(s, a, false, true));
        STRING.put("rjust", (s, a) -> padded(s, a, true, false));
        STRING.put("zfill", (s, a) -> zeroFilled(s, Num.index(a.required(0, "width"))));
        STRING.put("isspace", (s, a) -> Str.isSpace(s));
        STRING.put("isupper", (s, a) -> Str.isCase(s, true));
        STRING.put("islower", (s, a) -> Str.isCase(s, false));
        STRING.put("istitle", (s, a) -> Str.isTitle(s));
        STRING.put("isascii", (s, a) -> s.chars().allMatch(c -> c < 128));
        all("isalpha", Character::isLetter);
        all("isdigit", Character::isDigit);
        all("isdecimal", Character::isDigit);
        all(
                "isnumeric",
                c -> Character.isDigit(c)
                        || Character.getType(c) == Character.OTHER_NUMBER
                        || Character.getType(c) == Character.LETTER_NUMBER);
        all("isalnum", c -> Character.isLetterOrDigit(c) || Character.getType(c) == Character.OTHER_NUMBER);
    }

    private static void all(String name, IntPredicate test) {
        STRING.put(name, (s, a) -> !s.isEmpty() && s.codePoints().allMatch(test));
    }

    /** The bound method, or null. */
    static Function of(String s, String name) {
        return bind(s, name, STRING.get(name));
    }

    private static <T> Function bind(T self, String name, Method<T> method) {
        if (method == null) {
            return null;
        }
        return (ev, args) -> {
            Budget.chargeFor(self);
            Object result = method.call(self, args);
            if (!name.equals("format")) {
                args.done();
            }
            return result;
        };
    }

    static Function of(Map<?, ?> map, String name) {
        Method<Map<?, ?>> method = switch (name) {
            case "get" ->
                (m, a) -> {
                    Object key = a.required(0, "key");
                    Object otherwise = a.get(1, "default", null);
                    return Values.has(m, key) ? Values.lookup(m, key) : otherwise;
                };
            case "items" -> (m, a) -> new View("dict_items", Filters.pairs(m));
            case "keys" -> (m, a) -> new View("dict_keys", new ArrayList<>(m.keySet()));
            case "values" -> (m, a) -> new View("dict_values", new ArrayList<>(m.values()));
            case "copy" -> (m, a) -> new LinkedHashMap<>(m);
            default -> null;
        };
        return bind(map, name, method);
    }

    static Function of(List<?> list, String name) {
        Method<List<?>> method = switch (name) {
            case "index" ->
                (l, a) -> {
                    Object item = a.required(0, "value");
                    for (int i = 0; i < l.size(); i++) {
                        if (Values.equal(l.get(i), item)) {
                            return (long) i;
                        }
                    }
                    throw TemplateError.of(Repr.repr(item) + " is not in list");
                };
            case "count" ->
                (l, a) -> {
                    Object item = a.required(0, "value");
                    return l.stream().filter(o -> Values.equal(o, item)).count();
                };
            case "copy" -> (l, a) -> new ArrayList<>(l);
            default -> null;
        };
        boolean none = list instanceof View
                || name.equals("copy") && !Values.typeName(list).equals("list");
        return none ? null : bind(list, name, method);
    }

    /** Attributes of what is none of the above; null when there is no such attribute. */
    static Object other(Object object, String name) {
        if (object instanceof Globals.Cycler cycler) {
            return cycler.attribute(name);
        }
        if (object instanceof Double d && name.equals("is_integer")) {
            return (Function) (ev, a) -> d == Math.rint(d) && !Double.isInfinite(d);
        }
        if (Num.isInt(object) && name.equals("bit_length")) {
            return (Function) (ev, a) -> (long) Num.big(object).abs().bitLength();
        }
        return null;
    }

    private static Object partition(String s, String separator, boolean last) {
        if (separator.isEmpty()) {
            throw TemplateError.of("empty separator");
        }
        int i = last ? s.lastIndexOf(separator) : s.indexOf(separator);
        if (i < 0) {
            return last ? Tuple.of("", "", s) : Tuple.of(s, "", "");
        }
        return Tuple.of(s.substring(0, i), separator, s.substring(i + separator.length()));
    }

    /** The part of {@code s} that arguments 1 and 2 select. */
    private static String part(String s, Args args) {
        Object start = args.get(1, "start", null);
        Object end = args.get(2, "end", null);
        return start == null && end == null ? s : (String) Access.slice(s, start, end, null);
    }

    private static Object starts(String s, Args args, boolean start) {
        String part = part(s, args);
        Object affix = Values.defined(args.required(0, "prefix"));
        for (Object one : affix instanceof Tuple t ? t : List.of(affix == null ? 0L : affix)) {
            if (!(one instanceof String text)) {
                throw TemplateError.of((start ? "startswith" : "endswith")
                        + " first arg must be str or a tuple of str, not " + Values.typeName(affix));
            }
            if (start ? part.startsWith(text) : part.endsWith(text)) {
                return true;
            }
        }
        return false;
    }

    private static long find(String s, Args args, boolean last) {
        String sub = args.requiredString(0, "sub");
        String part = part(s, args);
        int i = last ? part.lastIndexOf(sub) : part.indexOf(sub);
        Object start = args.get(1, "start", null);
        long offset = start == null ? 0 : Num.index(start);
        int length = Str.length(s);
        offset = Math.clamp(offset < 0 ? offset + length : offset, 0, length);
        return i < 0 ? -1 : offset + part.codePointCount(0, i);
    }

    private static Object found(long i) {
        if (i < 0) {
            throw TemplateError.of("substring not found");
        }
        return i;
    }

    private static long count(String s, String sub) {
        if (sub.isEmpty()) {
            return Str.length(s) + 1L;
        }
        long n = 0;
        for (int i = s.indexOf(sub); i >= 0; i = s.indexOf(sub, i + sub.length())) {
            n++;
        }
        return n;
    }

    private static String joined(String separator, List<Object> items) {
        for (int i = 0; i < items.size(); i++) {
            if (!(items.get(i) instanceof String)) {
                throw TemplateError.of(
                        "sequence item " + i + ": expected str instance, " + Values.typeName(items.get(i)) + " found");
            }
        }
        return Str.join(separator, items);
    }

    private static Object padded(String s, Args args, boolean left, boolean right) {
        long width = Num.index(args.required(0, "width"));
        return Str.pad(s, width, args.string(1, "fillchar", " "), left, right);
    }

    private static String zeroFilled(String s, long width) {
        boolean sign = s.startsWith("-") || s.startsWith("+");
        String digits = sign ? s.substring(1) : s;
        return (sign ? s.substring(0, 1) : "") + Str.pad(digits, width - (sign ? 1 : 0), "0", true, false);
    }
}
