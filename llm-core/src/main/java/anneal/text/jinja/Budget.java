package anneal.text.jinja;

import java.util.List;
import java.util.Map;
import java.util.function.Supplier;

/** What is left of the {@link Limits} during one rendering; everything that produces values draws on it. */
final class Budget {
    private static final ScopedValue<Budget> CURRENT = ScopedValue.newInstance();

    private final Limits limits;
    private long left;
    private int depth;

    private Budget(Limits limits) {
        this.limits = limits;
        left = limits.work();
    }

    static <T> T within(Limits limits, Supplier<T> work) {
        return ScopedValue.where(CURRENT, new Budget(limits)).call(work::get);
    }

    /** Must come before the work it pays for. */
    static void charge(long work) {
        CURRENT.get().spend(work);
    }

    /** For work that walks once over a value. */
    static void chargeFor(Object value) {
        charge(
                switch (value) {
                    case String s -> s.length();
                    case List<?> list -> list.size();
                    case Map<?, ?> map -> map.size();
                    case null -> 1;
                    default -> 1;
                });
    }

    static Budget current() {
        return CURRENT.get();
    }

    void spend(long work) {
        left -= work;
        if (left < 0) {
            throw TemplateError.of("the template does more than " + limits.work() + " steps of work");
        }
    }

    void enter() {
        if (++depth > limits.depth()) {
            throw TemplateError.of("nested deeper than " + limits.depth());
        }
    }

    void leave() {
        depth--;
    }

    void output(int length) {
        if (length > limits.output()) {
            throw TemplateError.of("the template writes more than " + limits.output() + " characters");
        }
    }
}
