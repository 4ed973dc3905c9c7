package anneal.text.jinja;

import anneal.text.jinja.Values.Generator;
import anneal.text.jinja.Values.Tuple;
import anneal.text.jinja.Values.Undefined;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.math.RoundingMode;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.UnaryOperator;
import java.util.regex.Pattern;

/** Jinja's filters on single values; those on sequences are in {@link SequenceFilters}. */
final class Filters {
    /** A filter reads what it wants of {@code args}; what it leaves is an error. */
    interface Filter {
        Object apply(Object value, Args args);
    }

    private static final Pattern WORD_START =
            Pattern.compile("(?<=[-\\s({\\[<])(?![-\\s({\\[<])|(?<![-\\s({\\[<])(?=[-\\s({\\[<])");
    private static final Map<String, Filter> FILTERS = new HashMap<>();

    private Filters() {}

    static {
        text("upper", Str::upper);
        text("lower", Str::lower);
        text("capitalize", Str::capitalize);
        text("title", Filters::title);
        text("string", s -> s);
        text("safe", s -> s);
        text("e", Filters::escape);
        text("escape", Filters::escape);
        text("forceescape", Filters::escape);
        text("striptags", Filters::stripTags);
        FILTERS.put("trim", (v, a) -> Str.strip(Repr.str(v), a.string(0, "chars", null), true, true));
        FILTERS.put("wordcount", (v, a) -> (long) Pattern.compile("\\w+", Pattern.UNICODE_CHARACTER_CLASS)
                .matcher(Repr.str(v))
                .results()
                .count());
        FILTERS.put("center", (v, a) -> Str.pad(Repr.str(v), a.integer(0, "width", 80), " ", true, true));
        FILTERS.put("replace", (v, a) -> replace(Repr.str(v), a));
        FILTERS.put("indent", (v, a) -> indent(Repr.str(v), a));
        FILTERS.put("truncate", (v, a) -> truncate(Repr.str(v), a));
        FILTERS.put(
                "format",
                (v, a) -> Format.percent(
                        Repr.str(v),
                        a.named().isEmpty() ? new Tuple(a.rest("format", 0).positional(), List.of()) : named(a)));
        FILTERS.put("urlencode", (v, a) -> urlEncode(v));
        FILTERS.put("tojson", (v, a) -> toJson(v, a));
        FILTERS.put("default", Filters::orDefault);
        FILTERS.put("d", Filters::orDefault);
        FILTERS.put("int", (v, a) -> toInt(v, a.get(0, "default", 0L), a.integer(1, "base", 10)));
        FILTERS.put("float", (v, a) -> toFloat(v, a.get(0, "default", 0.0)));
        FILTERS.put("abs", (v, a) -> abs(v));
        FILTERS.put("round", (v, a) -> round(v, a.integer(0, "precision", 0), a.string(1, "method", "common")));
        FILTERS.put("attr", (v, a) -> Access.ownAttribute(Values.defined(v), a.requiredString(0, "name")));
        FILTERS.put("items", (v, a) -> items(v));
        FILTERS.putAll(SequenceFilters.all());
    }

    static boolean exists(String name) {
        return FILTERS.containsKey(name);
    }

    static Object apply(String name, Object value, Args args) {
        Filter filter = FILTERS.get(name);
        if (filter == null) {
            throw TemplateError.of("unknown filter '" + name + "'");
        }
        Budget.chargeFor(value);
        Object result = filter.apply(value, args);
        if (!List.of("map", "select", "reject", "selectattr", "rejectattr", "format")
                .contains(name)) {
            args.done();
        }
        return result;
    }

    private static void text(String name, UnaryOperator<String> filter) {
        FILTERS.put(name, (v, a) -> filter.apply(Repr.str(v)));
    }

    private static Object named(Args args) {
        return new LinkedHashMap<Object, Object>(args.named());
    }

    /** Words begin after white space, hyphens and opening brackets; the rest of a word is lowered. */
    private static String title(String s) {
        StringBuilder out = new StringBuilder();
        for (String part : WORD_START.split(s)) {
            int first = part.isEmpty() ? 0 : part.offsetByCodePoints(0, 1);
            out.append(Str.upper(part.substring(0, first))).append(Str.lower(part.substring(first)));
        }
        return out.toString();
    }

    static String escape(String s) {
        return s.replace("&", "&amp;")
                .replace("<", "&lt;")
                .replace(">", "&gt;")
                .replace("\"", "&#34;")
                .replace("'", "&#39;");
    }

    private static String stripTags(String s) {
        StringBuilder out = new StringBuilder();
        int at = 0;
        while (at < s.length()) {
            int open = s.indexOf('<', at);
            String end = open >= 0 && s.startsWith("<!--", open) ? "-->" : ">";
            int close = open < 0 ? -1 : s.indexOf(end, open);
            if (close < 0) {
                break;
            }
            out.append(s, at, open);
            at = close + end.length();
        }
        out.append(s, at, s.length());
        return Str.join(" ", Str.split(out.toString(), null, -1, false))
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&#34;", "\"")
                .replace("&quot;", "\"")
                .replace("&#39;", "'")
                .replace("&amp;", "&");
    }

    private static Object replace(String s, Args args) {
        String from = Repr.str(args.required(0, "old"));
        String to = Repr.str(args.required(1, "new"));
        Object count = args.get(2, "count", null);
        return Str.replace(s, from, to, count == null ? -1 : Num.index(count));
    }

    private static Object indent(String s, Args args) {
        Object width = args.get(0, "width", 4L);
        boolean first = args.flag(1, "first", false);
        boolean blank = args.flag(2, "blank", false);
        String by = width instanceof String w ? w : Str.repeat(" ", Num.index(Values.defined(width)));
        StringBuilder out = new StringBuilder();
        List<Object> lines = Str.lines(s + "\n", false);
        for (int i = 0; i < lines.size(); i++) {
            String line = (String) lines.get(i);
            boolean indented = i == 0 ? first : blank || !line.isEmpty();
            Budget.charge(by.length());
            out.append(i == 0 ? "" : "\n").append(indented ? by : "").append(line);
        }
        return out.toString();
    }

    private static Object truncate(String s, Args args) {
        int length = (int) Math.min(Integer.MAX_VALUE, args.integer(0, "length", 255));
        boolean killWords = args.flag(1, "killwords", false);
        String end = args.string(2, "end", "...");
        Object leeway = args.get(3, "leeway", null);
        long slack = leeway == null ? 5 : Num.index(leeway);
        if (length < Str.length(end) || slack < 0) {
            throw TemplateError.of("truncate: expected length >= " + Str.length(end) + ", got " + length);
        }
        if (Str.length(s) <= length + slack) {
            return s;
        }
        String cut = s.substring(0, s.offsetByCodePoints(0, length - Str.length(end)));
        int space = cut.lastIndexOf(' ');
        return (killWords || space < 0 ? cut : cut.substring(0, space)) + end;
    }

    private static Object urlEncode(Object value) {
        if (value instanceof String || !Values.isIterable(value)) {
            return quote(Repr.str(value), "/");
        }
        List<Object> pairs = value instanceof Map<?, ?> map ? pairs(map) : Values.iterate(value);
        List<String> out = new ArrayList<>();
        for (Object pair : pairs) {
            List<Object> kv = Values.iterate(pair);
            out.add(quote(Repr.str(kv.get(0)), "") + "=" + quote(Repr.str(kv.get(1)), ""));
        }
        return Str.join("&", out);
    }

    private static String quote(String s, String safe) {
        String out =
                URLEncoder.encode(s, StandardCharsets.UTF_8).replace("*", "%2A").replace("%7E", "~");
        out = out.replace("+", safe.isEmpty() ? "+" : "%20");
        return safe.isEmpty() ? out : out.replace("%2F", "/");
    }

    /** {@code json.dumps(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False)}. */
    private static Object toJson(Object value, Args args) {
        boolean ascii = args.flag(0, "ensure_ascii", false);
        Object indent = args.get(1, "indent", null);
        Object separators = args.get(2, "separators", null);
        boolean sort = args.flag(3, "sort_keys", false);
        String by = indent == null
                ? null
                : indent instanceof String s ? s : Str.repeat(" ", Num.index(Values.defined(indent)));
        String item = indent == null ? ", " : ",";
        String key = ": ";
        if (separators != null) {
            List<Object> two = Values.iterate(separators);
            if (two.size() != 2) {
                throw TemplateError.of("tojson: separators must be two strings, not " + two.size());
            }
            item = Repr.str(two.get(0));
            key = Repr.str(two.get(1));
        }
        return Repr.json(value, new Repr.JsonStyle(ascii, by, item, key, sort));
    }

    private static Object orDefault(Object value, Args args) {
        Object otherwise = args.get(0, "default_value", "");
        boolean falseToo = args.flag(1, "boolean", false);
        return value instanceof Undefined || falseToo && !Values.truth(value) ? otherwise : value;
    }

    private static Object toInt(Object value, Object otherwise, long base) {
        if (value instanceof Double d) {
            return Double.isNaN(d) || Double.isInfinite(d) ? otherwise : Num.integer(new BigDecimal(d).toBigInteger());
        }
        if (Num.isNumber(value)) {
            return Num.integer(Num.big(value));
        }
        if (!(value instanceof String s) || s.length() > Num.MAX_DIGITS) {
            return otherwise;
        }
        String digits = Str.strip(s, null, true, true).replace("_", "").toLowerCase(Locale.ROOT);
        String prefix = base == 16 ? "0x" : base == 8 ? "0o" : base == 2 ? "0b" : "\0";
        try {
            return Num.integer(new BigInteger(digits.startsWith(prefix) ? digits.substring(2) : digits, (int) base));
        } catch (NumberFormatException e) {
            Object real = toFloat(s, null);
            return real == null ? otherwise : toInt(real, otherwise, base);
        }
    }

    static Object toFloat(Object value, Object otherwise) {
        if (Num.isNumber(value)) {
            return Num.real(value);
        }
        if (value instanceof String s && s.length() <= Num.MAX_DIGITS) {
            String number = Str.strip(s, null, true, true).replace("_", "").toLowerCase(Locale.ROOT);
            String bare = number.startsWith("+") || number.startsWith("-") ? number.substring(1) : number;
            if (List.of("inf", "infinity", "nan").contains(bare)) {
                double d = bare.equals("nan") ? Double.NaN : Double.POSITIVE_INFINITY;
                return number.startsWith("-") ? -d : d;
            }
            if (bare.matches("(\\d+\\.?\\d*|\\.\\d+)(e[+-]?\\d+)?")) {
                return Double.parseDouble(number);
            }
        }
        return otherwise;
    }

    private static Object abs(Object value) {
        Values.defined(value);
        if (!Num.isNumber(value)) {
            throw TemplateError.of("bad operand type for abs(): '" + Values.typeName(value) + "'");
        }
        return value instanceof Double d
                ? (Object) Math.abs(d)
                : Num.integer(Num.big(value).abs());
    }

    private static Object round(Object value, long precision, String method) {
        Values.defined(value);
        if (!Num.isNumber(value)) {
            throw TemplateError.of("type " + Values.typeName(value) + " doesn't define __round__ method");
        }
        RoundingMode mode = switch (method) {
            case "common" -> RoundingMode.HALF_EVEN;
            case "ceil" -> RoundingMode.CEILING;
            case "floor" -> RoundingMode.FLOOR;
            default -> throw TemplateError.of("method must be common, ceil or floor");
        };
        if (method.equals("common") && !(value instanceof Double)) {
            // Python's round of an int stays an int.
            return precision >= 0
                    ? Num.integer(Num.big(value))
                    : scaled(new BigDecimal(Num.big(value)), precision, mode)
                            .toBigInteger()
                            .longValue();
        }
        double d = Num.real(value);
        if (Double.isNaN(d) || Double.isInfinite(d) || Math.abs(precision) > 400) {
            return d;
        }
        if (method.equals("common")) {
            return scaled(new BigDecimal(d), precision, mode).doubleValue();
        }
        double scale = Math.pow(10, precision);
        return (method.equals("ceil") ? Math.ceil(d * scale) : Math.floor(d * scale)) / scale;
    }

    private static BigDecimal scaled(BigDecimal d, long precision, RoundingMode mode) {
        return d.setScale((int) Math.clamp(precision, -400, 400), mode);
    }

    private static Object items(Object value) {
        if (value instanceof Undefined) {
            return new Generator(List.of());
        }
        if (!(value instanceof Map<?, ?> map)) {
            throw TemplateError.of("Can only get item pairs from a mapping.");
        }
        return new Generator(pairs(map));
    }

    static List<Object> pairs(Map<?, ?> map) {
        List<Object> out = new ArrayList<>(map.size());
        map.forEach((k, v) -> out.add(Tuple.of(k, v)));
        return out;
    }

    static List<Object> reversed(List<Object> items) {
        List<Object> out = new ArrayList<>(items);
        Collections.reverse(out);
        return out;
    }
}
