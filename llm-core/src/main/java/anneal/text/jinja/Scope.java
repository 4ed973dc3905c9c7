package anneal.text.jinja;

import java.util.HashMap;
import java.util.Map;

/** Names of one block; what is not here is looked for further out. */
final class Scope {
    private final Scope outer;
    private Map<String, Object> names;

    Scope(Scope outer) {
        this.outer = outer;
    }

    void set(String name, Object value) {
        if (names == null) {
            names = new HashMap<>();
        }
        names.put(name, value);
    }

    /** The value, or an {@link Values.Undefined}. */
    Object get(String name) {
        for (Scope s = this; s != null; s = s.outer) {
            if (s.names != null && s.names.containsKey(name)) {
                return s.names.get(name);
            }
        }
        return new Values.Undefined("'" + name + "' is undefined");
    }
}
