package anneal.text.jinja;

import java.util.ArrayList;
import java.util.List;

/** Python's arithmetic operators on every kind of value. */
final class Operators {
    private Operators() {}

    static Object binary(String operator, Object a, Object b) {
        Values.defined(a);
        Values.defined(b);
        if (Num.isNumber(a) && Num.isNumber(b)) {
            return Num.binary(operator, a, b);
        }
        switch (operator) {
            case "+" -> {
                if (a instanceof String x && b instanceof String y) {
                    Budget.charge((long) x.length() + y.length());
                    return x + y;
                }
                if (isConcatenable(a) && Values.typeName(a).equals(Values.typeName(b))) {
                    return concat((List<?>) a, (List<?>) b);
                }
                if (a instanceof String) {
                    throw TemplateError.of("can only concatenate str (not \"" + Values.typeName(b) + "\") to str");
                }
                if (isConcatenable(a)) {
                    throw TemplateError.of("can only concatenate " + Values.typeName(a) + " (not \""
                            + Values.typeName(b) + "\") to " + Values.typeName(a));
                }
            }
            case "*" -> {
                Object sequence = Num.isNumber(a) ? b : a;
                Object count = Num.isNumber(a) ? a : b;
                if (isRepeatable(sequence) && (Num.isInt(count) || count instanceof Boolean)) {
                    return repeat(sequence, Num.index(count));
                }
                if (isRepeatable(sequence)) {
                    throw TemplateError.of(
                            "can't multiply sequence by non-int of type '" + Values.typeName(count) + "'");
                }
            }
            case "%" -> {
                if (a instanceof String format) {
                    return Format.percent(format, b);
                }
            }
            default -> {
                // only numbers have the other operators
            }
        }
        String sign = operator.equals("**") ? "** or pow()" : operator;
        throw TemplateError.of("unsupported operand type(s) for " + sign + ": '" + Values.typeName(a) + "' and '"
                + Values.typeName(b) + "'");
    }

    static Object unary(boolean negate, Object value) {
        Values.defined(value);
        if (!Num.isNumber(value)) {
            throw TemplateError.of(
                    "bad operand type for unary " + (negate ? "-" : "+") + ": '" + Values.typeName(value) + "'");
        }
        return negate ? Num.negate(value) : value instanceof Boolean ? Num.integer(Num.big(value)) : value;
    }

    private static boolean isConcatenable(Object o) {
        return o instanceof List && !(o instanceof Values.Range || o instanceof Values.View);
    }

    private static boolean isRepeatable(Object o) {
        return o instanceof String || isConcatenable(o);
    }

    private static Object concat(List<?> a, List<?> b) {
        Budget.charge((long) a.size() + b.size());
        List<Object> out = new ArrayList<>(a);
        out.addAll(b);
        return a instanceof Values.Tuple ? new Values.Tuple(out, List.of()) : out;
    }

    private static Object repeat(Object sequence, long count) {
        if (sequence instanceof String s) {
            return Str.repeat(s, count);
        }
        List<?> items = (List<?>) sequence;
        long n = Math.max(0, count);
        Budget.charge(n > Integer.MAX_VALUE ? Long.MAX_VALUE / 2 : n * items.size());
        List<Object> out = new ArrayList<>();
        for (long i = 0; i < n; i++) {
            out.addAll(items);
        }
        return sequence instanceof Values.Tuple ? new Values.Tuple(out, List.of()) : out;
    }
}
