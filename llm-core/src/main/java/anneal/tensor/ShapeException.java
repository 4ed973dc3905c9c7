package anneal.tensor;

/** Two shapes that do not fit: names the op, the shapes, the rule and, if known, the module. */
public final class ShapeException extends IllegalArgumentException {
    private static final long serialVersionUID = 1L;

    /** An error with this sentence. */
    public ShapeException(String message) {
        super(message);
    }

    /** The same error with the place where it happened. */
    public ShapeException at(String place) {
        ShapeException e = new ShapeException(getMessage() + " (at " + place + ")");
        e.initCause(this);
        return e;
    }
}
