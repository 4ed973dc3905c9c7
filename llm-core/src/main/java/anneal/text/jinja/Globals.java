package anneal.text.jinja;

import anneal.text.jinja.Values.Function;
import java.time.ZonedDateTime;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The functions every template can call. */
final class Globals {
    private static final long MAX_RANGE = 100_000;

    private Globals() {}

    static Scope scope() {
        Scope scope = new Scope(null);
        scope.set("range", (Function) (ev, a) -> range(a));
        scope.set("dict", (Function) (ev, a) -> dict(a));
        scope.set("namespace", (Function) (ev, a) -> namespace(a));
        scope.set("raise_exception", (Function) (ev, a) -> {
            throw TemplateError.raised(Repr.str(a.required(0, "message")));
        });
        scope.set("strftime_now", (Function)
                (ev, a) -> Format.strftime(a.requiredString(0, "format"), ZonedDateTime.now(ev.clock())));
        scope.set("cycler", (Function) (ev, a) -> new Cycler(a.positional()));
        scope.set("joiner", (Function) (ev, a) -> joiner(a.string(0, "sep", ", ")));
        return scope;
    }

    private static Object range(Args args) {
        int given = args.positional().size();
        if (given < 1 || given > 3 || !args.named().isEmpty()) {
            throw TemplateError.of("range expected 1 to 3 arguments, got " + given);
        }
        for (Object o : args.positional()) {
            if (!Num.isInt(Values.defined(o)) && !(o instanceof Boolean)) {
                throw TemplateError.of("'" + Values.typeName(o) + "' object cannot be interpreted as an integer");
            }
        }
        long start = given == 1 ? 0 : Num.index(args.positional().get(0));
        long stop = Num.index(args.positional().get(given == 1 ? 0 : 1));
        long step = given == 3 ? Num.index(args.positional().get(2)) : 1;
        if (step == 0) {
            throw TemplateError.of("range() arg 3 must not be zero");
        }
        long span = step > 0 ? stop - start : start - stop;
        long size = span <= 0 ? 0 : (span - 1) / Math.abs(step) + 1;
        if (size > MAX_RANGE) {
            throw TemplateError.of(
                    "Range too big. The sandbox blocks ranges larger than MAX_RANGE (" + MAX_RANGE + ").");
        }
        return new Values.Range(start, stop, step, (int) size);
    }

    private static Map<Object, Object> dict(Args args) {
        Map<Object, Object> map = new LinkedHashMap<>();
        if (!args.positional().isEmpty()) {
            Object source = args.positional().getFirst();
            List<Object> pairs = source instanceof Map<?, ?> m ? Filters.pairs(m) : Values.iterate(source);
            for (Object pair : pairs) {
                List<Object> kv = Values.iterate(pair);
                if (kv.size() != 2) {
                    throw TemplateError.of(
                            "dictionary update sequence element has length " + kv.size() + "; 2 is required");
                }
                Values.put(map, kv.get(0), kv.get(1));
            }
        }
        map.putAll(args.named());
        return map;
    }

    private static Object namespace(Args args) {
        Values.Namespace namespace = new Values.Namespace();
        dict(args).forEach((k, v) -> namespace.set(Repr.str(k), v));
        return namespace;
    }

    private static Object joiner(String separator) {
        boolean[] used = {false};
        return (Function) (ev, a) -> {
            String out = used[0] ? separator : "";
            used[0] = true;
            return out;
        };
    }

    /** Gives its items in turn, over and over. */
    static final class Cycler {
        private final List<Object> items;
        private int at;

        Cycler(List<Object> items) {
            if (items.isEmpty()) {
                throw TemplateError.of("at least one item has to be provided");
            }
            this.items = items;
        }

        /** Null when there is no such attribute. */
        Object attribute(String name) {
            return switch (name) {
                case "current" -> items.get(at);
                case "next" ->
                    (Function) (ev, a) -> {
                        Object current = items.get(at);
                        at = (at + 1) % items.size();
                        return current;
                    };
                case "reset" ->
                    (Function) (ev, a) -> {
                        at = 0;
                        return null;
                    };
                default -> null;
            };
        }
    }
}
