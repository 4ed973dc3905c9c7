package anneal.text.jinja;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A macro with the scope it was made in; calling it renders its body to a str. */
record Macro(Node.MacroNode node, Scope scope) implements Values.Function {
    String name() {
        return node.name();
    }

    @Override
    public Object call(Evaluator evaluator, Args args) {
        Scope inner = new Scope(scope);
        Map<String, Object> named = new LinkedHashMap<>(args.named());
        List<String> parameters = node.parameters();
        int required = parameters.size() - node.defaults().size();
        int given = args.positional().size();
        for (int i = 0; i < parameters.size(); i++) {
            String parameter = parameters.get(i);
            if (i < given) {
                if (named.containsKey(parameter)) {
                    throw TemplateError.of(
                            "macro '" + name() + "' got multiple values for argument '" + parameter + "'");
                }
                inner.set(parameter, args.positional().get(i));
            } else if (named.containsKey(parameter)) {
                inner.set(parameter, named.remove(parameter));
            } else if (i >= required) {
                inner.set(parameter, evaluator.eval(node.defaults().get(i - required), inner));
            } else {
                inner.set(parameter, new Values.Undefined("parameter '" + parameter + "' was not provided"));
            }
        }
        if (node.readsCaller()) {
            inner.set(
                    "caller",
                    named.containsKey("caller") ? named.remove("caller") : new Values.Undefined("No caller defined"));
        }
        extra(inner, named, args.positional());
        return evaluator.capture(node.body(), inner);
    }

    private void extra(Scope inner, Map<String, Object> named, List<Object> positional) {
        int most = node.parameters().size();
        if (node.readsVarargs()) {
            List<Object> rest = positional.size() > most ? positional.subList(most, positional.size()) : List.of();
            inner.set("varargs", new Values.Tuple(new ArrayList<>(rest), List.of()));
        } else if (positional.size() > most) {
            throw TemplateError.of("macro '" + name() + "' takes not more than " + most + " argument(s)");
        }
        if (node.readsKwargs()) {
            inner.set("kwargs", new LinkedHashMap<Object, Object>(named));
        } else if (!named.isEmpty()) {
            throw TemplateError.of("macro '" + name() + "' takes no keyword argument '"
                    + named.keySet().iterator().next() + "'");
        }
    }
}
