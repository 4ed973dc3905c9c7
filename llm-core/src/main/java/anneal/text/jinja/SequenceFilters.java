package anneal.text.jinja;

import anneal.text.jinja.Filters.Filter;
import anneal.text.jinja.Values.Generator;
import anneal.text.jinja.Values.Tuple;
import anneal.text.jinja.Values.Undefined;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;

/** Jinja's filters on sequences. */
final class SequenceFilters {
    private SequenceFilters() {}

    static Map<String, Filter> all() {
        Map<String, Filter> all = new HashMap<>();
        all.put("length", (v, a) -> Values.length(v));
        all.put("count", (v, a) -> Values.length(v));
        all.put("list", (v, a) -> new ArrayList<>(Values.iterate(v)));
        all.put("first", (v, a) -> first(v));
        all.put("last", (v, a) -> last(v));
        all.put("join", (v, a) -> join(v, a));
        all.put("reverse", (v, a) -> reverse(v));
        all.put("sort", (v, a) -> sort(v, a));
        all.put("unique", (v, a) -> unique(v, a));
        all.put("min", (v, a) -> extreme(v, a, 1));
        all.put("max", (v, a) -> extreme(v, a, -1));
        all.put("sum", (v, a) -> sum(v, a));
        all.put("dictsort", (v, a) -> dictSort(v, a));
        all.put("groupby", (v, a) -> groupBy(v, a));
        all.put("batch", (v, a) -> batch(v, a));
        all.put("slice", (v, a) -> slice(v, a));
        all.put("map", SequenceFilters::map);
        all.put("select", (v, a) -> select(v, a, false, true));
        all.put("reject", (v, a) -> select(v, a, false, false));
        all.put("selectattr", (v, a) -> select(v, a, true, true));
        all.put("rejectattr", (v, a) -> select(v, a, true, false));
        return all;
    }

    private static Object first(Object value) {
        if (value instanceof Generator g) {
            return g.isEmpty() ? new Undefined("No first item, sequence was empty.") : g.takeFirst();
        }
        List<Object> items = Values.iterate(value);
        return items.isEmpty() ? new Undefined("No first item, sequence was empty.") : items.getFirst();
    }

    private static Object last(Object value) {
        if (value instanceof Generator) {
            throw TemplateError.of("'generator' object is not reversible");
        }
        List<Object> items = Values.iterate(value);
        return items.isEmpty() ? new Undefined("No last item, sequence was empty.") : items.getLast();
    }

    private static Object join(Object value, Args args) {
        String separator = Repr.str(args.get(0, "d", ""));
        UnaryOperator<Object> attribute = attribute(args.get(1, "attribute", null), null);
        return Str.join(separator, mapped(Values.iterate(value), attribute));
    }

    private static List<Object> mapped(List<Object> items, UnaryOperator<Object> f) {
        List<Object> out = new ArrayList<>(items.size());
        items.forEach(item -> out.add(f.apply(item)));
        return out;
    }

    private static Object reverse(Object value) {
        if (value instanceof String s) {
            return new StringBuilder(s).reverse().toString();
        }
        return new Generator(Filters.reversed(Values.iterate(Values.defined(value))));
    }

    /** {@code role}, {@code 0} or {@code a.b.0}; null: the item itself. */
    private static UnaryOperator<Object> attribute(Object path, Object otherwise) {
        if (path == null) {
            return item -> item;
        }
        List<Object> parts = new ArrayList<>();
        for (Object part : path instanceof String s ? Str.split(s, ".", -1, false) : List.of(path)) {
            boolean digits =
                    part instanceof String s && !s.isEmpty() && s.chars().allMatch(Character::isDigit);
            parts.add(digits ? Filters.toFloat(part, null) instanceof Double d ? (Object) d.longValue() : part : part);
        }
        return item -> {
            Object value = item;
            for (Object part : parts) {
                value = Access.item(value, part);
                if (value instanceof Undefined && otherwise != null) {
                    return otherwise;
                }
            }
            return value;
        };
    }

    private static Object ignoreCase(Object value, boolean caseSensitive) {
        return value instanceof String s && !caseSensitive ? Str.lower(s) : value;
    }

    private static Comparator<Object> order(UnaryOperator<Object> key) {
        return (a, b) -> {
            Budget.charge(1);
            return Values.compare("<", Values.defined(key.apply(a)), Values.defined(key.apply(b)));
        };
    }

    private static Object sort(Object value, Args args) {
        boolean reverse = args.flag(0, "reverse", false);
        boolean caseSensitive = args.flag(1, "case_sensitive", false);
        Object attribute = args.get(2, "attribute", null);
        List<UnaryOperator<Object>> keys = new ArrayList<>();
        for (Object path : attribute instanceof String s ? Str.split(s, ",", -1, false) : listOfOne(attribute)) {
            UnaryOperator<Object> get = attribute(path, null);
            keys.add(item -> ignoreCase(get.apply(item), caseSensitive));
        }
        UnaryOperator<Object> key = keys.size() == 1
                ? keys.getFirst()
                : item -> new ArrayList<Object>(
                        keys.stream().map(k -> k.apply(item)).toList());
        return sorted(Values.iterate(value), key, reverse);
    }

    private static List<Object> listOfOne(Object o) {
        List<Object> list = new ArrayList<>();
        list.add(o);
        return list;
    }

    private static List<Object> sorted(List<Object> items, UnaryOperator<Object> key, boolean reverse) {
        List<Object> out = new ArrayList<>(items);
        // Reversing the comparator, not the result, keeps equal items in their order, as Python does.
        out.sort(reverse ? order(key).reversed() : order(key));
        return out;
    }

    private static Object unique(Object value, Args args) {
        boolean caseSensitive = args.flag(0, "case_sensitive", false);
        UnaryOperator<Object> get = attribute(args.get(1, "attribute", null), null);
        List<Object> seen = new ArrayList<>();
        List<Object> out = new ArrayList<>();
        for (Object item : Values.iterate(value)) {
            Object key = Values.key(ignoreCase(get.apply(item), caseSensitive));
            if (!Values.contains(seen, key)) {
                seen.add(key);
                out.add(item);
            }
        }
        return new Generator(out);
    }

    private static Object extreme(Object value, Args args, int sign) {
        boolean caseSensitive = args.flag(0, "case_sensitive", false);
        UnaryOperator<Object> get = attribute(args.get(1, "attribute", null), null);
        List<Object> items = Values.iterate(value);
        if (items.isEmpty()) {
            return new Undefined("No aggregated item, sequence was empty.");
        }
        Comparator<Object> order = order(item -> ignoreCase(get.apply(item), caseSensitive));
        Object best = items.getFirst();
        for (Object item : items) {
            if (sign * order.compare(item, best) < 0) {
                best = item;
            }
        }
        return best;
    }

    private static Object sum(Object value, Args args) {
        UnaryOperator<Object> get = attribute(args.get(0, "attribute", null), null);
        Object total = args.get(1, "start", 0L);
        for (Object item : Values.iterate(value)) {
            total = Operators.binary("+", total, get.apply(item));
        }
        return total;
    }

    private static Object dictSort(Object value, Args args) {
        boolean caseSensitive = args.flag(0, "case_sensitive", false);
        String by = args.string(1, "by", "key");
        boolean reverse = args.flag(2, "reverse", false);
        if (!by.equals("key") && !by.equals("value")) {
            throw TemplateError.of("You can only sort by either \"key\" or \"value\"");
        }
        if (!(value instanceof Map<?, ?> map)) {
            throw TemplateError.of("'" + Values.typeName(value) + "' object has no attribute 'items'");
        }
        int at = by.equals("key") ? 0 : 1;
        return sorted(Filters.pairs(map), pair -> ignoreCase(((Tuple) pair).get(at), caseSensitive), reverse);
    }

    private static Object groupBy(Object value, Args args) {
        Object path = args.required(0, "attribute");
        UnaryOperator<Object> get = attribute(path, args.get(1, "default", null));
        boolean caseSensitive = args.flag(2, "case_sensitive", false);
        List<Object> out = new ArrayList<>();
        List<Object> group = null;
        Object last = null;
        for (Object item : sorted(Values.iterate(value), item -> ignoreCase(get.apply(item), caseSensitive), false)) {
            Object key = ignoreCase(get.apply(item), caseSensitive);
            if (group == null || !Values.equal(key, last)) {
                group = new ArrayList<>();
                Object shown = get.apply(item);
                out.add(new Tuple(Arrays.asList(shown, group), List.of("grouper", "list")));
                last = key;
            }
            group.add(item);
        }
        return out;
    }

    private static Object batch(Object value, Args args) {
        long size = args.integer(0, "linecount", 0);
        Object fill = args.get(1, "fill_with", null);
        List<Object> out = new ArrayList<>();
        List<Object> row = new ArrayList<>();
        for (Object item : Values.iterate(value)) {
            if (row.size() == size) {
                out.add(row);
                row = new ArrayList<>();
            }
            row.add(item);
        }
        if (!row.isEmpty()) {
            Budget.charge(fill == null ? 0 : Math.max(0, size - row.size()));
            while (fill != null && row.size() < size) {
                row.add(fill);
            }
            out.add(row);
        }
        return new Generator(out);
    }

    private static Object slice(Object value, Args args) {
        long slices = args.integer(0, "slices", 1);
        Object fill = args.get(1, "fill_with", null);
        List<Object> items = Values.iterate(value);
        if (slices < 1) {
            throw TemplateError.of("slice: the number of slices must be positive, not " + slices);
        }
        Budget.charge(slices);
        List<Object> out = new ArrayList<>();
        int per = (int) (items.size() / slices);
        int longer = (int) (items.size() % slices);
        int at = 0;
        for (long i = 0; i < slices; i++) {
            int end = at + per + (i < longer ? 1 : 0);
            List<Object> part = new ArrayList<>(items.subList(at, end));
            if (fill != null && i >= longer) {
                part.add(fill);
            }
            out.add(part);
            at = end;
        }
        return new Generator(out);
    }

    private static Object map(Object value, Args args) {
        List<Object> out = new ArrayList<>();
        if (args.positional().isEmpty() && args.named().containsKey("attribute")) {
            UnaryOperator<Object> get =
                    attribute(args.named().get("attribute"), args.named().get("default"));
            Values.iterate(value).forEach(item -> out.add(get.apply(item)));
            return new Generator(out);
        }
        String filter = args.requiredString(0, "filter");
        for (Object item : Values.iterate(value)) {
            Budget.charge(1);
            out.add(Filters.apply(filter, item, args.rest(filter, 1)));
        }
        return new Generator(out);
    }

    private static Object select(Object value, Args args, boolean byAttribute, boolean keep) {
        int at = byAttribute ? 1 : 0;
        UnaryOperator<Object> get = byAttribute ? attribute(args.required(0, "attribute"), null) : item -> item;
        String test = at < args.positional().size() ? Repr.str(args.positional().get(at)) : null;
        List<Object> out = new ArrayList<>();
        for (Object item : Values.iterate(value)) {
            Budget.charge(1);
            Object tested = get.apply(item);
            boolean holds = test == null ? Values.truth(tested) : Tests.apply(test, tested, args.rest(test, at + 1));
            if (holds == keep) {
                out.add(item);
            }
        }
        return new Generator(out);
    }
}
