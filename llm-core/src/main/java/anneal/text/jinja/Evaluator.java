package anneal.text.jinja;

import anneal.text.jinja.Node.*;
import java.time.Clock;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Walks the tree of one template for one rendering. */
final class Evaluator {
    /** How a block ended. */
    private enum Flow {
        NORMAL,
        BREAK,
        CONTINUE
    }

    private final Budget budget = Budget.current();
    private final Clock clock;
    private int line = 1;
    private StringBuilder out = new StringBuilder();
    private List<Template.Span> generated = new ArrayList<>();

    /**
     * Generation markers inside macros: their spans wait beside the macro's result until that very string is printed.
     * Compared by identity, since an equal text may come from elsewhere.
     */
    private final IdentityHashMap<String, Captured> captured = new IdentityHashMap<>();

    private static final class Captured {
        private final List<Template.Span> spans;
        private boolean printed;

        Captured(List<Template.Span> spans) {
            this.spans = spans;
        }
    }

    Evaluator(Clock clock) {
        this.clock = clock;
    }

    Clock clock() {
        return clock;
    }

    int line() {
        return line;
    }

    Template.Rendering render(List<Stmt> body, Scope scope) {
        run(body, scope);
        boolean complete = captured.values().stream().allMatch(c -> c.printed);
        return new Template.Rendering(out.toString(), List.copyOf(generated), complete);
    }

    /** The text a body writes, as a value. */
    String capture(List<Stmt> body, Scope scope) {
        return capture(() -> run(body, scope));
    }

    private String capture(Runnable body) {
        StringBuilder outerOut = out;
        List<Template.Span> outerGenerated = generated;
        out = new StringBuilder();
        generated = new ArrayList<>();
        budget.enter();
        body.run();
        budget.leave();
        String text = out.toString();
        if (!generated.isEmpty() && !text.isEmpty()) {
            captured.put(text, new Captured(generated));
        }
        out = outerOut;
        generated = outerGenerated;
        return text;
    }

    private Flow run(List<Stmt> body, Scope scope) {
        for (Stmt stmt : body) {
            budget.spend(1);
            line = stmt.line();
            budget.enter();
            Flow flow = run(stmt, scope);
            budget.leave();
            if (flow != Flow.NORMAL) {
                return flow;
            }
        }
        return Flow.NORMAL;
    }

    private Flow run(Stmt stmt, Scope scope) {
        switch (stmt) {
            case Text text -> write(text.text());
            case Print print -> write(Repr.str(eval(print.value(), scope)));
            case If branch -> {
                return runIf(branch, scope);
            }
            case For loop -> runFor(loop, scope);
            case Node.Set set -> assign(set.target(), eval(set.value(), scope), scope);
            case SetBlock set ->
                assign(set.target(), filtered(capture(set.body(), new Scope(scope)), set.filters(), scope), scope);
            case FilterBlock block ->
                write(Repr.str(filtered(capture(block.body(), new Scope(scope)), block.filters(), scope)));
            case With with -> {
                Scope inner = new Scope(scope);
                for (int i = 0; i < with.targets().size(); i++) {
                    assign(with.targets().get(i), eval(with.values().get(i), scope), inner);
                }
                return run(with.body(), inner);
            }
            case MacroStmt macro -> scope.set(macro.macro().name(), new Macro(macro.macro(), scope));
            case CallBlock block -> {
                Args args = arguments(block.call().arguments(), scope, "call");
                args.named().put("caller", new Macro(block.caller(), scope));
                write(Repr.str(call(eval(block.call().function(), scope), args)));
            }
            case Generation generation -> {
                int start = out.length();
                run(generation.body(), new Scope(scope));
                generated.add(new Template.Span(start, out.length()));
            }
            case Break b -> {
                return Flow.BREAK;
            }
            case Continue c -> {
                return Flow.CONTINUE;
            }
        }
        return Flow.NORMAL;
    }

    private void write(String text) {
        budget.spend(text.length());
        budget.output(out.length() + text.length());
        Captured inside = captured.get(text);
        if (inside != null) {
            inside.printed = true;
            for (Template.Span span : inside.spans) {
                generated.add(new Template.Span(out.length() + span.start(), out.length() + span.end()));
            }
        }
        out.append(text);
    }

    private Flow runIf(If stmt, Scope scope) {
        for (Branch branch : stmt.branches()) {
            if (Values.truth(eval(branch.test(), scope))) {
                return run(branch.body(), scope);
            }
        }
        return run(stmt.otherwise(), scope);
    }

    private void runFor(For stmt, Scope scope) {
        loop(stmt, scope, eval(stmt.items(), scope), 0);
    }

    private void loop(For stmt, Scope scope, Object iterable, int depth0) {
        List<Object> items = Values.iterate(iterable);
        budget.spend(items.size());
        if (stmt.filter() != null) {
            List<Object> kept = new ArrayList<>();
            for (Object item : items) {
                Scope inner = new Scope(scope);
                assign(stmt.target(), item, inner);
                if (Values.truth(eval(stmt.filter(), inner))) {
                    kept.add(item);
                }
            }
            items = kept;
        }
        LoopState state = new LoopState(items, depth0, stmt.recursive() ? recursion(stmt, scope) : null);
        for (Object item : items) {
            Scope inner = new Scope(scope);
            assign(stmt.target(), item, inner);
            inner.set("loop", state);
            if (run(stmt.body(), inner) == Flow.BREAK) {
                break;
            }
            state.index0++;
        }
        if (items.isEmpty()) {
            run(stmt.otherwise(), new Scope(scope));
        }
    }

    private LoopState.Recursion recursion(For stmt, Scope scope) {
        return (items, depth0) -> capture(() -> loop(stmt, scope, items, depth0));
    }

    private void assign(Target target, Object value, Scope scope) {
        switch (target) {
            case NameTarget name -> scope.set(name.name(), value);
            case NamespaceTarget ns -> {
                if (!(scope.get(ns.namespace()) instanceof Values.Namespace namespace)) {
                    throw TemplateError.of("cannot assign attribute on non-namespace object");
                }
                namespace.set(ns.attribute(), value);
            }
            case TupleTarget tuple -> {
                Values.defined(value);
                if (!Values.isIterable(value)) {
                    throw TemplateError.of("cannot unpack non-iterable " + Values.typeName(value) + " object");
                }
                List<Object> items = Values.iterate(value);
                int want = tuple.items().size();
                if (items.size() != want) {
                    throw TemplateError.of(
                            items.size() > want
                                    ? "too many values to unpack (expected " + want + ")"
                                    : "not enough values to unpack (expected " + want + ", got " + items.size() + ")");
                }
                for (int i = 0; i < want; i++) {
                    assign(tuple.items().get(i), items.get(i), scope);
                }
            }
        }
    }

    Object eval(Expr expr, Scope scope) {
        budget.spend(1);
        budget.enter();
        Object value = switch (expr) {
            case Literal literal -> literal.value();
            case Name name -> scope.get(name.name());
            case ListExpr list ->
                list.tuple() ? new Values.Tuple(evalAll(list.items(), scope), List.of()) : evalAll(list.items(), scope);
            case DictExpr dict -> dict(dict, scope);
            case Attribute attribute -> Access.attribute(eval(attribute.object(), scope), attribute.name());
            case Item item -> item(item, scope);
            case Slice slice -> throw TemplateError.of("a slice must be the only subscript");
            case Call call -> {
                Object function = eval(call.function(), scope);
                yield call(function, arguments(call.arguments(), scope, calleeName(call.function())));
            }
            case Filter filter -> filter(eval(filter.value(), scope), filter.use(), scope);
            case Test test ->
                Tests.apply(test.name(), eval(test.value(), scope), arguments(test.arguments(), scope, test.name()));
            case Not not -> !Values.truth(eval(not.value(), scope));
            case And and -> {
                Object left = eval(and.left(), scope);
                yield Values.truth(left) ? eval(and.right(), scope) : left;
            }
            case Or or -> {
                Object left = eval(or.left(), scope);
                yield Values.truth(left) ? left : eval(or.right(), scope);
            }
            case Conditional c -> conditional(c, scope);
            case Compare compare -> compare(compare, scope);
            case Concat concat -> Str.join("", evalAll(concat.items(), scope));
            case Binary binary ->
                Operators.binary(binary.operator(), eval(binary.left(), scope), eval(binary.right(), scope));
            case Unary unary -> Operators.unary(unary.negate(), eval(unary.value(), scope));
        };
        budget.leave();
        return value;
    }

    private List<Object> evalAll(List<Expr> exprs, Scope scope) {
        List<Object> values = new ArrayList<>(exprs.size());
        for (Expr e : exprs) {
            values.add(eval(e, scope));
        }
        return values;
    }

    private Object dict(DictExpr dict, Scope scope) {
        Map<Object, Object> map = new LinkedHashMap<>();
        for (int i = 0; i < dict.keys().size(); i++) {
            Values.put(map, eval(dict.keys().get(i), scope), eval(dict.values().get(i), scope));
        }
        return map;
    }

    private Object item(Item item, Scope scope) {
        Object object = eval(item.object(), scope);
        if (item.index() instanceof Slice slice) {
            return Access.slice(
                    object, part(slice.start(), scope), part(slice.stop(), scope), part(slice.step(), scope));
        }
        return Access.item(object, eval(item.index(), scope));
    }

    private Object part(Expr expr, Scope scope) {
        return expr == null ? null : eval(expr, scope);
    }

    private Object conditional(Conditional c, Scope scope) {
        if (Values.truth(eval(c.test(), scope))) {
            return eval(c.then(), scope);
        }
        return c.otherwise() == null
                ? new Values.Undefined("the inline if-expression evaluated to false and no else section was defined")
                : eval(c.otherwise(), scope);
    }

    private Object compare(Compare compare, Scope scope) {
        Object left = eval(compare.first(), scope);
        for (int i = 0; i < compare.operators().size(); i++) {
            Object right = eval(compare.others().get(i), scope);
            boolean holds = switch (compare.operators().get(i)) {
                case "==" -> Values.equal(left, right);
                case "!=" -> !Values.equal(left, right);
                case "in" -> Values.contains(right, left);
                case "not in" -> !Values.contains(right, left);
                default -> Values.ordered(compare.operators().get(i), left, right);
            };
            if (!holds) {
                return false;
            }
            left = right;
        }
        return true;
    }

    private static String calleeName(Expr function) {
        return switch (function) {
            case Name name -> name.name();
            case Attribute attribute -> attribute.name();
            default -> "call";
        };
    }

    private Args arguments(Arguments arguments, Scope scope, String callee) {
        List<Object> positional = evalAll(arguments.positional(), scope);
        if (arguments.star() != null) {
            positional.addAll(Values.iterate(eval(arguments.star(), scope)));
        }
        Map<String, Object> named = new LinkedHashMap<>();
        for (Map.Entry<String, Expr> e : arguments.named().entrySet()) {
            named.put(e.getKey(), eval(e.getValue(), scope));
        }
        if (arguments.starStar() != null) {
            if (!(eval(arguments.starStar(), scope) instanceof Map<?, ?> map)) {
                throw TemplateError.of(callee + "() argument after ** must be a mapping");
            }
            map.forEach((k, v) -> named.put(Repr.str(k), v));
        }
        return new Args(callee, positional, named);
    }

    Object call(Object function, Args args) {
        Values.defined(function);
        if (!(function instanceof Values.Function f)) {
            throw TemplateError.of("'" + Values.typeName(function) + "' object is not callable");
        }
        int at = line;
        Object value = f.call(this, args);
        line = at;
        Budget.chargeFor(value);
        return value;
    }

    private Object filtered(Object value, List<FilterUse> filters, Scope scope) {
        Object result = value;
        for (FilterUse use : filters) {
            result = filter(result, use, scope);
        }
        return result;
    }

    private Object filter(Object value, FilterUse use, Scope scope) {
        Object result = Filters.apply(use.name(), value, arguments(use.arguments(), scope, use.name()));
        Budget.chargeFor(result);
        return result;
    }
}
