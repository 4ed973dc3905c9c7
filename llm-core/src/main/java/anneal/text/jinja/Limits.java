package anneal.text.jinja;

/**
 * How much work an untrusted template may cause.
 *
 * @param work syntax nodes evaluated plus characters and list elements produced; also bounds the memory used
 * @param depth nesting of expressions, blocks, macro calls and values
 * @param output characters of the rendered text
 */
public record Limits(long work, int depth, int output) {
    /** Enough for conversations of millions of characters; a hostile template stops within about a second. */
    public static final Limits DEFAULT = new Limits(50_000_000, 400, 32_000_000);

    public Limits {
        if (work < 1 || depth < 1 || output < 1) {
            throw new IllegalArgumentException(
                    "Limits: work " + work + ", depth " + depth + " and output " + output + " must all be positive");
        }
    }
}
