package anneal.text.jinja;

import anneal.text.jinja.Values.Undefined;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;

/** What may stand after {@code is}. */
final class Tests {
    /** A test reads what it wants of {@code args}. */
    interface Test {
        boolean holds(Object value, Args args);
    }

    private static final Map<String, Test> TESTS = new HashMap<>();

    private Tests() {}

    static {
        simple("defined", v -> !(v instanceof Undefined));
        simple("undefined", v -> v instanceof Undefined);
        simple("none", v -> v == null);
        simple("boolean", v -> v instanceof Boolean);
        simple("true", v -> Boolean.TRUE.equals(v));
        simple("false", v -> Boolean.FALSE.equals(v));
        simple("integer", Num::isInt);
        simple("float", v -> v instanceof Double);
        simple("number", Num::isNumber);
        simple("string", v -> v instanceof String);
        simple("mapping", v -> v instanceof Map);
        simple(
                "sequence",
                v -> v instanceof String
                        || v instanceof Map
                        || v instanceof Undefined
                        || v instanceof List && !(v instanceof Values.View));
        simple("iterable", Values::isIterable);
        simple("callable", v -> v instanceof Values.Function);
        simple("escaped", v -> false);
        simple("lower", v -> Str.isCase(Repr.str(v), false));
        simple("upper", v -> Str.isCase(Repr.str(v), true));
        simple("odd", v -> Values.equal(Operators.binary("%", v, 2L), 1L));
        simple("even", v -> Values.equal(Operators.binary("%", v, 2L), 0L));
        simple("filter", v -> v instanceof String s && Filters.exists(s));
        simple("test", v -> v instanceof String s && exists(s));
        TESTS.put("divisibleby", (v, a) -> Values.equal(Operators.binary("%", v, a.required(0, "num")), 0L));
        TESTS.put("sameas", (v, a) -> same(v, a.required(0, "other")));
        TESTS.put("in", (v, a) -> Values.contains(a.required(0, "seq"), v));
        comparison((v, a) -> Values.equal(v, a.required(0, "other")), "eq", "equalto", "==");
        comparison((v, a) -> !Values.equal(v, a.required(0, "other")), "ne", "!=");
        comparison((v, a) -> Values.ordered("<", v, a.required(0, "other")), "lt", "lessthan", "<");
        comparison((v, a) -> Values.ordered("<=", v, a.required(0, "other")), "le", "<=");
        comparison((v, a) -> Values.ordered(">", v, a.required(0, "other")), "gt", "greaterthan", ">");
        comparison((v, a) -> Values.ordered(">=", v, a.required(0, "other")), "ge", ">=");
    }

    static boolean exists(String name) {
        return TESTS.containsKey(name);
    }

    static boolean apply(String name, Object value, Args args) {
        Test test = TESTS.get(name);
        if (test == null) {
            throw TemplateError.of("unknown test '" + name + "'");
        }
        boolean holds = test.holds(value, args);
        args.done();
        return holds;
    }

    private static void simple(String name, Predicate<Object> test) {
        TESTS.put(name, (v, a) -> test.test(v));
    }

    private static void comparison(Test test, String... names) {
        for (String name : names) {
            TESTS.put(name, test);
        }
    }

    /** Python's {@code is}: the same object; small values are always the same object. */
    private static boolean same(Object a, Object b) {
        boolean small = a instanceof String || a instanceof Boolean || a instanceof Long;
        return a == b || small && a.equals(b);
    }
}
