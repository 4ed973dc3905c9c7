package anneal.text.jinja;

import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** The arguments of one call, read by position or name as the callee asks for them. */
final class Args {
    private final String callee;
    private final List<Object> positional;
    private final Map<String, Object> named;
    private final Set<String> read = new HashSet<>();
    private int most;

    Args(String callee, List<Object> positional, Map<String, Object> named) {
        this.callee = callee;
        this.positional = positional;
        this.named = named;
    }

    List<Object> positional() {
        return positional;
    }

    Map<String, Object> named() {
        return named;
    }

    /** From the {@code from}th positional argument on, for a callee that hands them further. */
    Args rest(String newCallee, int from) {
        return new Args(newCallee, positional.subList(Math.min(from, positional.size()), positional.size()), named);
    }

    boolean has(int position, String name) {
        return position < positional.size() || named.containsKey(name);
    }

    Object get(int position, String name, Object otherwise) {
        read.add(name);
        most = Math.max(most, position + 1);
        if (position < positional.size()) {
            if (named.containsKey(name)) {
                throw TemplateError.of(callee + "() got multiple values for argument '" + name + "'");
            }
            return positional.get(position);
        }
        return named.containsKey(name) ? named.get(name) : otherwise;
    }

    Object required(int position, String name) {
        if (!has(position, name)) {
            throw TemplateError.of(callee + "() missing required argument '" + name + "'");
        }
        return get(position, name, null);
    }

    String string(int position, String name, String otherwise) {
        Object value = get(position, name, otherwise);
        if (value != null && !(value instanceof String)) {
            Values.defined(value);
            throw TemplateError.of(callee + "() argument '" + name + "' must be str, not " + Values.typeName(value));
        }
        return (String) value;
    }

    String requiredString(int position, String name) {
        required(position, name);
        String value = string(position, name, null);
        if (value == null) {
            throw TemplateError.of(callee + "() argument '" + name + "' must be str, not NoneType");
        }
        return value;
    }

    long integer(int position, String name, long otherwise) {
        return Num.index(Values.defined(get(position, name, otherwise)));
    }

    boolean flag(int position, String name, boolean otherwise) {
        return Values.truth(get(position, name, otherwise));
    }

    /** Fails on arguments that nobody asked for; to be called when all are read. */
    void done() {
        if (positional.size() > most) {
            throw TemplateError.of(
                    callee + "() takes at most " + most + " arguments (" + positional.size() + " given)");
        }
        for (String name : named.keySet()) {
            if (!read.contains(name)) {
                throw TemplateError.of(callee + "() got an unexpected keyword argument '" + name + "'");
            }
        }
    }
}
