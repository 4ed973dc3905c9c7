package anneal.text.jinja;

/** What callers see as an {@link IllegalArgumentException}; knows whether the sentence is the template's own. */
final class TemplateError extends IllegalArgumentException {
    private static final long serialVersionUID = 1;
    private final boolean complete;

    private TemplateError(String message, boolean complete) {
        super(message);
        this.complete = complete;
    }

    /** An error that still needs its place. */
    static TemplateError of(String message) {
        return new TemplateError(message, false);
    }

    /** The template called {@code raise_exception}: its sentence is given on unchanged. */
    static TemplateError raised(String message) {
        return new TemplateError(message, true);
    }

    /** The same error with the line it happened at. */
    TemplateError at(int line) {
        return complete ? this : new TemplateError("template line " + line + ": " + getMessage(), true);
    }
}
