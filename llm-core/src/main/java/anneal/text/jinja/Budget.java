package anneal.text.jinja;

import java.util.concurrent.Callable;

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

    static <T> T within(Limits limits, Callable<T> work) throws Exception {
        return ScopedValue.where(CURRENT, new Budget(limits)).call(work::call);
    }

    /** Must come before the work it pays for. */
    static void charge(long work) {
        CURRENT.get().spend(work);
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
