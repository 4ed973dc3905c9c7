package anneal.text.jinja;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.math.RoundingMode;
import java.time.ZonedDateTime;
import java.time.format.TextStyle;
import java.time.temporal.ChronoField;
import java.time.temporal.IsoFields;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Python's {@code %} formatting, {@code str.format} and {@code strftime}. */
final class Format {
    private static final int MAX_PRECISION = 1000;
    private static final Pattern PERCENT = Pattern.compile(
            "%(?:\\((?<name>[^)]*)\\))?(?<flags>[-+ #0]*)(?<width>\\*|\\d+)?(?:\\.(?<precision>\\d+))?(?<type>.)?");
    private static final Pattern SPEC = Pattern.compile(
            "(?:(?<fill>.)?(?<align>[<>=^]))?(?<sign>[-+ ])?(?<alt>#)?(?<zero>0)?"
                    + "(?<width>\\d+)?(?<group>[,_])?(?:\\.(?<precision>\\d+))?(?<type>[a-zA-Z%])?",
            Pattern.DOTALL);

    private Format() {}

    /** {@code format % values}: a tuple for several values, a dict for named ones, else one value. */
    static String percent(String format, Object values) {
        List<?> items = values instanceof Values.Tuple t ? t : List.of(values == null ? new None() : values);
        Budget.chargeFor(format);
        StringBuilder out = new StringBuilder();
        Matcher m = PERCENT.matcher(format);
        int at = 0;
        int next = 0;
        while (m.find(at)) {
            out.append(format, at, m.start());
            at = m.end();
            String type = m.group("type");
            if (type == null) {
                throw TemplateError.of("incomplete format");
            }
            if (type.equals("%")) {
                out.append('%');
                continue;
            }
            Object value;
            if (m.group("name") != null) {
                if (!(values instanceof Map<?, ?> map)) {
                    throw TemplateError.of("format requires a mapping");
                }
                if (!Values.has(map, m.group("name"))) {
                    throw TemplateError.of(Repr.repr(m.group("name")));
                }
                value = Values.lookup(map, m.group("name"));
            } else if (next >= items.size()) {
                throw TemplateError.of("not enough arguments for format string");
            } else {
                value = items.get(next++);
            }
            out.append(percentOne(m, type.charAt(0), value instanceof None ? null : value));
        }
        if (next < items.size() && !(values instanceof Map)) {
            throw TemplateError.of("not all arguments converted during string formatting");
        }
        return out.append(format, at, format.length()).toString();
    }

    /** Stands for Python's None in a list that cannot hold null. */
    private record None() {}

    private static String percentOne(Matcher m, char type, Object value) {
        String flags = m.group("flags");
        Spec spec = new Spec(
                flags.contains("0") && !flags.contains("-") ? '0' : ' ',
                flags.contains("-") ? '<' : flags.contains("0") ? '=' : '>',
                flags.contains("+") ? '+' : flags.contains(" ") ? ' ' : '-',
                flags.contains("#"),
                number(m.group("width"), 0),
                '\0',
                number(m.group("precision"), -1),
                type);
        switch (type) {
            case 's', 'r', 'a' -> {
                String text = type == 's' ? Repr.str(value) : Repr.repr(value);
                return spec.withAlign(spec.align == '<' ? '<' : '>').pad("", cut(text, spec.precision));
            }
            case 'c' -> {
                String text = value instanceof String s ? s : Character.toString((int) Num.index(value));
                return spec.withAlign(spec.align == '<' ? '<' : '>').pad("", text);
            }
            case 'd', 'i', 'u' -> {
                checkNumber(type, value);
                Object whole = value instanceof Double d ? Num.integer(new BigDecimal(d).toBigInteger()) : value;
                return spec.withType('d').number(whole);
            }
            case 'x', 'X', 'o' -> {
                checkNumber(type, value);
                return spec.number(value);
            }
            case 'e', 'E', 'f', 'F', 'g', 'G' -> {
                checkNumber(type, value);
                return spec.number(Num.real(value));
            }
            default -> throw TemplateError.of("unsupported format character '" + type + "'");
        }
    }

    private static void checkNumber(char type, Object value) {
        Values.defined(value);
        if (!Num.isNumber(value)) {
            throw TemplateError.of("%" + type + " format: a real number is required, not " + Values.typeName(value));
        }
    }

    private static int number(String digits, int otherwise) {
        if (digits == null) {
            return otherwise;
        }
        if (digits.equals("*") || digits.length() > 8) {
            throw TemplateError.of("format width " + digits + " is not supported");
        }
        return Integer.parseInt(digits);
    }

    private static String cut(String text, int precision) {
        return precision < 0 || Str.length(text) <= precision
                ? text
                : text.substring(0, text.offsetByCodePoints(0, precision));
    }

    /** {@code format.format(*positional, **named)}. */
    static String braces(String format, List<Object> positional, Map<String, Object> named) {
        StringBuilder out = new StringBuilder();
        int automatic = 0;
        for (int i = 0; i < format.length(); i++) {
            char c = format.charAt(i);
            if (c != '{' && c != '}') {
                out.append(c);
            } else if (i + 1 < format.length() && format.charAt(i + 1) == c) {
                out.append(c);
                i++;
            } else if (c == '}') {
                throw TemplateError.of("Single '}' encountered in format string");
            } else {
                int end = format.indexOf('}', i);
                if (end < 0) {
                    throw TemplateError.of("expected '}' before end of string");
                }
                String field = format.substring(i + 1, end);
                boolean numbered = !field.isEmpty() && ":!.[".indexOf(field.charAt(0)) < 0;
                out.append(field(numbered ? field : automatic++ + field, positional, named));
                i = end;
            }
        }
        return out.toString();
    }

    private static final Pattern FIELD = Pattern.compile(
            "(?<name>[^.\\[:!]*)(?<path>(?:\\.[^.\\[:!]+|\\[[^]]+])*)(?:!(?<conversion>[rsa]))?(?::(?<spec>.*))?",
            Pattern.DOTALL);
    private static final Pattern STEP = Pattern.compile("\\.([^.\\[]+)|\\[([^]]+)]");

    private static String field(String field, List<Object> positional, Map<String, Object> named) {
        Matcher m = FIELD.matcher(field);
        if (!m.matches()) {
            throw TemplateError.of("format field '{" + field + "}' is malformed");
        }
        String name = m.group("name");
        Object value;
        if (name.matches("\\d{1,6}")) {
            int i = Integer.parseInt(name);
            if (i >= positional.size()) {
                throw TemplateError.of("Replacement index " + i + " out of range for positional args tuple");
            }
            value = positional.get(i);
        } else if (named.containsKey(name)) {
            value = named.get(name);
        } else {
            throw TemplateError.of(Repr.repr(name));
        }
        Matcher step = STEP.matcher(m.group("path"));
        while (step.find()) {
            String key = step.group(2);
            value = key == null
                    ? Access.attribute(value, step.group(1))
                    : Access.item(value, key.matches("\\d{1,9}") ? (Object) Long.parseLong(key) : key);
        }
        if (m.group("conversion") != null) {
            value = m.group("conversion").equals("s") ? Repr.str(value) : Repr.repr(value);
        }
        return formatted(value, m.group("spec") == null ? "" : m.group("spec"));
    }

    /** {@code format(value, spec)}. */
    private static String formatted(Object value, String text) {
        if (text.isEmpty()) {
            return Repr.str(value);
        }
        Matcher m = SPEC.matcher(text);
        if (!m.matches()) {
            throw TemplateError.of(
                    "Invalid format specifier '" + text + "' for object of type '" + Values.typeName(value) + "'");
        }
        boolean number = Num.isNumber(value);
        boolean zero = m.group("zero") != null && m.group("align") == null;
        String fill = m.group("fill");
        char align = m.group("align") != null ? m.group("align").charAt(0) : zero ? '=' : number ? '>' : '<';
        Spec spec = new Spec(
                fill != null ? fill.charAt(0) : m.group("zero") != null ? '0' : ' ',
                align,
                m.group("sign") == null ? '-' : m.group("sign").charAt(0),
                m.group("alt") != null,
                number(m.group("width"), 0),
                m.group("group") == null ? '\0' : m.group("group").charAt(0),
                number(m.group("precision"), -1),
                m.group("type") == null ? '\0' : m.group("type").charAt(0));
        if (number && spec.type != 's') {
            return spec.number(value);
        }
        if (!(value instanceof String) || spec.type != 's' && spec.type != '\0') {
            throw TemplateError.of("unsupported format string passed to " + Values.typeName(value) + ".__format__");
        }
        return spec.pad("", cut((String) value, spec.precision));
    }

    /** How one value is written. */
    private record Spec(
            char fill, char align, char sign, boolean alternate, int width, char group, int precision, char type) {
        private Spec {
            if (precision > MAX_PRECISION) {
                throw TemplateError.of("format precision " + precision + " is larger than " + MAX_PRECISION);
            }
        }

        Spec withAlign(char newAlign) {
            return new Spec(' ', newAlign, sign, alternate, width, group, precision, type);
        }

        Spec withType(char newType) {
            return new Spec(fill, align, sign, alternate, width, group, precision, newType);
        }

        String number(Object value) {
            boolean whole = type == 'd'
                    || type == 'x'
                    || type == 'X'
                    || type == 'o'
                    || type == 'b'
                    || type == 'c'
                    || type == '\0' && !(value instanceof Double);
            if (whole && value instanceof Double) {
                throw TemplateError.of("Unknown format code '" + type + "' for object of type 'float'");
            }
            String digits = whole ? whole(Num.big(value)) : real(Num.real(value));
            boolean negative = digits.startsWith("-");
            String lead = negative ? "-" : sign == '-' ? "" : String.valueOf(sign);
            String body = negative ? digits.substring(1) : digits;
            if (alternate && (type == 'x' || type == 'X' || type == 'o' || type == 'b')) {
                lead += "0" + type;
            }
            return pad(lead, group == '\0' ? body : grouped(body));
        }

        private String whole(BigInteger n) {
            return switch (type) {
                case 'x' -> n.toString(16);
                case 'X' -> n.toString(16).toUpperCase(Locale.ROOT);
                case 'o' -> n.toString(8);
                case 'b' -> n.toString(2);
                case 'c' -> Character.toString((int) Num.index(Num.integer(n)));
                default -> n.toString();
            };
        }

        private String real(double d) {
            if (Double.isNaN(d) || Double.isInfinite(d)) {
                return Num.repr(d);
            }
            int digits = precision < 0 ? 6 : precision;
            String text = switch (type) {
                case 'f', 'F' -> fixed(d, digits);
                case '%' -> fixed(d * 100, digits) + "%";
                case 'e', 'E' -> exponent(d, digits);
                case 'g', 'G' -> general(d, Math.max(1, digits));
                case '\0' -> precision < 0 ? Num.repr(d) : general(d, Math.max(1, digits));
                default -> throw TemplateError.of("Unknown format code '" + type + "' for object of type 'float'");
            };
            return Character.isUpperCase(type) ? text.toUpperCase(Locale.ROOT) : text;
        }

        private static String fixed(double d, int digits) {
            String text =
                    new BigDecimal(d).setScale(digits, RoundingMode.HALF_EVEN).toPlainString();
            return isNegative(d) && !text.startsWith("-") ? "-" + text : text;
        }

        private static boolean isNegative(double d) {
            return d < 0 || d == 0 && 1 / d < 0;
        }

        private static String exponent(double d, int digits) {
            BigDecimal exact = new BigDecimal(d);
            if (d == 0) {
                return fixed(d, digits) + "e+00";
            }
            BigDecimal rounded = exact.round(new java.math.MathContext(digits + 1, RoundingMode.HALF_EVEN));
            int e = rounded.precision() - rounded.scale() - 1;
            String mantissa = rounded.movePointLeft(e)
                    .setScale(digits, RoundingMode.UNNECESSARY)
                    .toPlainString();
            return mantissa + "e" + (e < 0 ? "-" : "+") + (Math.abs(e) < 10 ? "0" : "") + Math.abs(e);
        }

        private static String general(double d, int digits) {
            if (d == 0) {
                return isNegative(d) ? "-0" : "0";
            }
            BigDecimal rounded = new BigDecimal(d).round(new java.math.MathContext(digits, RoundingMode.HALF_EVEN));
            int e = rounded.precision() - rounded.scale() - 1;
            if (e >= -4 && e < digits) {
                BigDecimal plain = rounded.stripTrailingZeros();
                return plain.scale() < 0 ? plain.toBigInteger().toString() : plain.toPlainString();
            }
            String text = exponent(d, digits - 1);
            int mark = text.indexOf('e');
            String mantissa = text.substring(0, mark);
            if (mantissa.indexOf('.') >= 0) {
                mantissa = Str.strip(mantissa, "0", false, true);
                mantissa = Str.strip(mantissa, ".", false, true);
            }
            return mantissa + text.substring(mark);
        }

        private String grouped(String digits) {
            int end = 0;
            while (end < digits.length() && Character.isLetterOrDigit(digits.charAt(end))) {
                end++;
            }
            StringBuilder out = new StringBuilder(digits);
            for (int i = end - 3; i > 0; i -= 3) {
                out.insert(i, group);
            }
            return out.toString();
        }

        String pad(String lead, String body) {
            long missing = Math.max(0, width - Str.length(lead) - (long) Str.length(body));
            Budget.charge(missing);
            String filling = String.valueOf(fill).repeat((int) missing);
            return switch (align) {
                case '<' -> lead + body + filling;
                case '=' -> lead + filling + body;
                case '^' -> {
                    int before = (int) missing / 2;
                    yield filling.substring(0, before) + lead + body + filling.substring(before);
                }
                default -> filling + lead + body;
            };
        }
    }

    /** The date and time by C's conversions, in English. */
    static String strftime(String format, ZonedDateTime time) {
        StringBuilder out = new StringBuilder();
        for (int i = 0; i < format.length(); i++) {
            char c = format.charAt(i);
            if (c != '%' || i + 1 == format.length()) {
                out.append(c);
                continue;
            }
            char conversion = format.charAt(++i);
            boolean bare = conversion == '-' && i + 1 < format.length();
            String text = conversion(bare ? format.charAt(++i) : conversion, time);
            out.append(
                    bare
                            ? Str.strip(text.substring(0, text.length() - 1), "0", true, false)
                                    + text.charAt(text.length() - 1)
                            : text);
        }
        return out.toString();
    }

    private static String conversion(char c, ZonedDateTime t) {
        return switch (c) {
            case 'Y' -> String.valueOf(t.getYear());
            case 'y' -> two(t.getYear() % 100);
            case 'm' -> two(t.getMonthValue());
            case 'd' -> two(t.getDayOfMonth());
            case 'e' -> String.format(Locale.ROOT, "%2d", t.getDayOfMonth());
            case 'H' -> two(t.getHour());
            case 'I' -> two(t.get(ChronoField.CLOCK_HOUR_OF_AMPM));
            case 'M' -> two(t.getMinute());
            case 'S' -> two(t.getSecond());
            case 'f' -> String.format(Locale.ROOT, "%06d", t.getNano() / 1000);
            case 'j' -> String.format(Locale.ROOT, "%03d", t.getDayOfYear());
            case 'p' -> t.getHour() < 12 ? "AM" : "PM";
            case 'b', 'h' -> t.getMonth().getDisplayName(TextStyle.SHORT_STANDALONE, Locale.ENGLISH);
            case 'B' -> t.getMonth().getDisplayName(TextStyle.FULL_STANDALONE, Locale.ENGLISH);
            case 'a' -> t.getDayOfWeek().getDisplayName(TextStyle.SHORT, Locale.ENGLISH);
            case 'A' -> t.getDayOfWeek().getDisplayName(TextStyle.FULL, Locale.ENGLISH);
            case 'u' -> String.valueOf(t.getDayOfWeek().getValue());
            case 'w' -> String.valueOf(t.getDayOfWeek().getValue() % 7);
            case 'V' -> two(t.get(IsoFields.WEEK_OF_WEEK_BASED_YEAR));
            case 'G' -> String.valueOf(t.get(IsoFields.WEEK_BASED_YEAR));
            case 'D', 'x' -> strftime("%m/%d/%y", t);
            case 'F' -> strftime("%Y-%m-%d", t);
            case 'T', 'X' -> strftime("%H:%M:%S", t);
            case 'R' -> strftime("%H:%M", t);
            case 'c' -> strftime("%a %b %e %H:%M:%S %Y", t);
            case 's' -> String.valueOf(t.toEpochSecond());

            // transformers formats a time without zone, for which both are empty.
            case 'z', 'Z' -> "";
            case 'n' -> "\n";
            case 't' -> "\t";
            case '%' -> "%";
            default -> "%" + c;
        };
    }

    private static String two(int n) {
        return n < 10 ? "0" + n : String.valueOf(n);
    }
}
