package anneal.text.jinja;

import java.util.List;
import java.util.Map;

/** Python's {@code str()}, {@code repr()} and {@code json.dumps()}. */
final class Repr {
    /** Values nested deeper than this are refused; only namespaces can hold themselves. */
    private static final int MAX_DEPTH = 200;

    private Repr() {}

    static String str(Object o) {
        return switch (o) {
            case String s -> s;
            case Values.Undefined u -> "";
            case null -> "None";
            default -> repr(o);
        };
    }

    static String repr(Object o) {
        StringBuilder out = new StringBuilder();
        repr(o, out, 0);
        return out.toString();
    }

    private static void repr(Object o, StringBuilder out, int depth) {
        charge(o, depth);
        switch (o) {
            case null -> out.append("None");
            case Boolean b -> out.append(b ? "True" : "False");
            case Double d -> out.append(Num.repr(d));
            case String s -> quote(s, out);
            case Values.Undefined u -> out.append("Undefined");
            case Values.Range r -> {
                out.append("range(").append(r.start).append(", ").append(r.stop);
                out.append(r.step == 1 ? "" : ", " + r.step).append(')');
            }
            case Values.View v -> {
                out.append(v.kind).append("([");
                items(v, out, depth);
                out.append("])");
            }
            case Values.Tuple t -> {
                out.append('(');
                items(t, out, depth);
                out.append(t.size() == 1 ? ",)" : ")");
            }
            case List<?> list -> {
                out.append('[');
                items(list, out, depth);
                out.append(']');
            }
            case Map<?, ?> map -> dict(map, out, depth);
            case Values.Namespace n -> {
                out.append("<Namespace ");
                dict(n.attributes, out, depth);
                out.append('>');
            }
            case LoopState l ->
                out.append("<LoopContext ")
                        .append(l.index0 + 1)
                        .append('/')
                        .append(l.items.size())
                        .append('>');
            case Macro m -> out.append("<Macro ").append(repr(m.name())).append('>');
            case Values.Generator g -> out.append("<generator object>");
            case Values.Function f -> out.append("<function>");
            default -> out.append(o);
        }
    }

    private static void items(List<?> list, StringBuilder out, int depth) {
        String comma = "";
        for (Object item : list) {
            out.append(comma);
            repr(item, out, depth + 1);
            comma = ", ";
        }
    }

    private static void dict(Map<?, ?> map, StringBuilder out, int depth) {
        String comma = "{";
        for (Map.Entry<?, ?> e : map.entrySet()) {
            out.append(comma);
            repr(e.getKey(), out, depth + 1);
            out.append(": ");
            repr(e.getValue(), out, depth + 1);
            comma = ", ";
        }
        out.append(map.isEmpty() ? "{}" : "}");
    }

    private static void quote(String s, StringBuilder out) {
        char quote = s.indexOf('\'') >= 0 && s.indexOf('"') < 0 ? '"' : '\'';
        out.append(quote);
        for (int i = 0; i < s.length(); ) {
            int c = s.codePointAt(i);
            i += Character.charCount(c);
            switch (c) {
                case '\\' -> out.append("\\\\");
                case '\n' -> out.append("\\n");
                case '\r' -> out.append("\\r");
                case '\t' -> out.append("\\t");
                default -> {
                    if (c == quote) {
                        out.append('\\').append(quote);
                    } else if (isPrintable(c)) {
                        out.appendCodePoint(c);
                    } else if (c < 0x100) {
                        out.append("\\x").append(hex(c, 2));
                    } else {
                        out.append(c < 0x10000 ? "\\u" + hex(c, 4) : "\\U" + hex(c, 8));
                    }
                }
            }
        }
        out.append(quote);
    }

    private static boolean isPrintable(int c) {
        if (c < 0x7f) {
            return c >= 0x20;
        }
        return switch (Character.getType(c)) {
            case Character.CONTROL,
                    Character.FORMAT,
                    Character.SURROGATE,
                    Character.PRIVATE_USE,
                    Character.UNASSIGNED,
                    Character.LINE_SEPARATOR,
                    Character.PARAGRAPH_SEPARATOR,
                    Character.SPACE_SEPARATOR -> false;
            default -> true;
        };
    }

    private static String hex(int c, int width) {
        String digits = Integer.toHexString(c);
        return "0".repeat(width - digits.length()) + digits;
    }

    /**
     * How {@code tojson} writes.
     *
     * @param indent one level of indentation, or null for one line
     */
    record JsonStyle(boolean ascii, String indent, String itemSeparator, String keySeparator, boolean sortKeys) {}

    static String json(Object o, JsonStyle style) {
        StringBuilder out = new StringBuilder();
        json(o, style, out, 0);
        return out.toString();
    }

    private static void json(Object o, JsonStyle style, StringBuilder out, int depth) {
        charge(o, depth);
        switch (o) {
            case null -> out.append("null");
            case Boolean b -> out.append(b);
            case String s -> jsonString(s, style.ascii(), out);
            case Double d ->
                out.append(d.isNaN() ? "NaN" : d.isInfinite() ? (d > 0 ? "Infinity" : "-Infinity") : Num.repr(d));
            case Values.Range r -> throw notJson(o);
            case Values.View v -> throw notJson(o);
            case List<?> list -> {
                String open = "[";
                for (Object item : list) {
                    out.append(open);
                    newline(style, out, depth + 1);
                    json(item, style, out, depth + 1);
                    open = style.itemSeparator();
                }
                close(list.isEmpty(), "[]", style, out, depth);
            }
            case Map<?, ?> map -> jsonDict(map, style, out, depth);
            default -> {
                if (!Num.isInt(o)) {
                    throw notJson(o);
                }
                out.append(o);
            }
        }
    }

    private static void jsonDict(Map<?, ?> map, JsonStyle style, StringBuilder out, int depth) {
        List<? extends Map.Entry<?, ?>> entries = List.copyOf(map.entrySet());
        if (style.sortKeys()) {
            entries = entries.stream()
                    .sorted((a, b) -> Values.compare("<", a.getKey(), b.getKey()))
                    .toList();
        }
        String open = "{";
        for (Map.Entry<?, ?> e : entries) {
            out.append(open);
            newline(style, out, depth + 1);
            jsonKey(e.getKey(), style, out);
            out.append(style.keySeparator());
            json(e.getValue(), style, out, depth + 1);
            open = style.itemSeparator();
        }
        close(entries.isEmpty(), "{}", style, out, depth);
    }

    private static void jsonKey(Object key, JsonStyle style, StringBuilder out) {
        if (key instanceof String s) {
            jsonString(s, style.ascii(), out);
        } else if (key == null || Num.isNumber(key)) {
            out.append('"');
            json(key, style, out, 0);
            out.append('"');
        } else {
            throw TemplateError.of("keys must be str, int, float, bool or None, not " + Values.typeName(key));
        }
    }

    private static void newline(JsonStyle style, StringBuilder out, int depth) {
        if (style.indent() != null) {
            Budget.charge((long) depth * style.indent().length());
            out.append('\n').append(style.indent().repeat(depth));
        }
    }

    private static void close(boolean empty, String brackets, JsonStyle style, StringBuilder out, int depth) {
        if (empty) {
            out.append(brackets);
        } else {
            newline(style, out, depth);
            out.append(brackets.charAt(1));
        }
    }

    private static void jsonString(String s, boolean ascii, StringBuilder out) {
        out.append('"');
        for (int i = 0; i < s.length(); i++) {
            char c = s.charAt(i);
            int simple = "\"\\\n\r\t\f\b".indexOf(c);
            if (simple >= 0) {
                out.append('\\').append("\"\\nrtfb".charAt(simple));
            } else if (c < 0x20 || ascii && c > 0x7e) {
                out.append("\\u").append(hex(c, 4));
            } else {
                out.append(c);
            }
        }
        out.append('"');
    }

    private static TemplateError notJson(Object o) {
        return TemplateError.of("Object of type " + Values.typeName(o) + " is not JSON serializable");
    }

    /** A value that contains another twice, many times over, is small in memory and endless on paper. */
    private static void charge(Object o, int depth) {
        Budget.charge(o instanceof String s ? s.length() : 1);
        if (depth > MAX_DEPTH) {
            throw TemplateError.of("a value is nested deeper than " + MAX_DEPTH);
        }
    }
}
