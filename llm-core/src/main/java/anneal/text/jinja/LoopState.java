package anneal.text.jinja;

import java.util.List;

/** The {@code loop} variable of a for block. */
final class LoopState implements Values.Function {
    final List<Object> items;
    int index0;
    private final int depth0;
    private final Recursion recursion;
    private List<Object> lastChanged;

    /** Renders the loop again over other items; null unless the loop is declared recursive. */
    interface Recursion {
        Object render(Object items, int depth0);
    }

    LoopState(List<Object> items, int depth0, Recursion recursion) {
        this.items = items;
        this.depth0 = depth0;
        this.recursion = recursion;
    }

    /** Null when there is no such attribute; a None is never one. */
    Object attribute(String name) {
        int n = items.size();
        return switch (name) {
            case "index" -> index0 + 1L;
            case "index0" -> (long) index0;
            case "revindex" -> (long) n - index0;
            case "revindex0" -> n - index0 - 1L;
            case "first" -> index0 == 0;
            case "last" -> index0 == n - 1;
            case "length" -> (long) n;
            case "depth" -> depth0 + 1L;
            case "depth0" -> (long) depth0;
            case "previtem" -> index0 > 0 ? items.get(index0 - 1) : new Values.Undefined("there is no previous item");
            case "nextitem" -> index0 < n - 1 ? items.get(index0 + 1) : new Values.Undefined("there is no next item");
            case "cycle" ->
                (Values.Function) (evaluator, args) -> {
                    if (args.positional().isEmpty()) {
                        throw TemplateError.of("no items for cycling given");
                    }
                    return args.positional().get(index0 % args.positional().size());
                };
            case "changed" ->
                (Values.Function) (evaluator, args) -> {
                    boolean changed = lastChanged == null || !Values.equal(lastChanged, args.positional());
                    lastChanged = args.positional();
                    return changed;
                };
            default -> new Values.Undefined("'LoopContext' object has no attribute '" + name + "'");
        };
    }

    @Override
    public Object call(Evaluator evaluator, Args args) {
        if (recursion == null) {
            throw TemplateError.of("The loop must have the 'recursive' marker to be called recursively.");
        }
        return recursion.render(args.required(0, "iterable"), depth0 + 1);
    }
}
