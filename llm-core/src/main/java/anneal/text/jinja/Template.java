package anneal.text.jinja;

import java.time.Clock;
import java.util.List;
import java.util.Map;

/**
 * A compiled Jinja2 template; immutable, may be rendered by many threads.
 *
 * <p>Rendering gives what Jinja2 3.1 gives in transformers' environment. Left out: tags that read other files,
 * {@code autoescape}, and the filters {@code filesizeformat}, {@code pprint}, {@code random}, {@code urlize},
 * {@code wordwrap} and {@code xmlattr}.
 */
public final class Template {
    private final String source;
    private final Parser.Parsed parsed;
    private final Limits limits;

    private Template(String source, Parser.Parsed parsed, Limits limits) {
        this.source = source;
        this.parsed = parsed;
        this.limits = limits;
    }

    /** Start and end (exclusive) in the rendered text, in UTF-16 units. */
    public record Span(int start, int end) {}

    /**
     * A rendered template.
     *
     * @param text what it wrote
     * @param generated what stood inside {@code {% generation %}} markers
     * @param complete false if a marker's text went through a filter or variable, so that its place is not known
     */
    public record Rendering(String text, List<Span> generated, boolean complete) {}

    /** Compiles with {@link Limits#DEFAULT}; a syntax error is an {@link IllegalArgumentException} naming the line. */
    public static Template parse(String source) {
        return parse(source, Limits.DEFAULT);
    }

    /** Compiles {@code source}; a syntax error is an {@link IllegalArgumentException} naming the line. */
    public static Template parse(String source, Limits limits) {
        try {
            return new Template(source, Parser.parse(source, limits.depth()), limits);
        } catch (StackOverflowError e) {
            throw new IllegalArgumentException(
                    "the template is nested too deep, or has a number of too many digits", e);
        }
    }

    /** The text that was compiled. */
    public String source() {
        return source;
    }

    /** True if the template has {@code {% generation %}} markers. */
    public boolean marksGeneration() {
        return parsed.marksGeneration();
    }

    /** The rendered text, with the system's clock for {@code strftime_now}. */
    public String render(Map<String, ?> variables) {
        return render(variables, Clock.systemDefaultZone()).text();
    }

    /**
     * Renders with these variables: strings, numbers, booleans, lists, maps and null.
     *
     * @throws IllegalArgumentException with the template's own sentence if it calls {@code raise_exception}, else with
     *     the line and what is wrong there: a limit exceeded, an undefined value used, a wrong type
     */
    public Rendering render(Map<String, ?> variables, Clock clock) {
        Scope globals = Globals.scope();
        variables.forEach((name, value) -> globals.set(name, Values.fromJava(value)));
        return Budget.within(limits, () -> run(globals, clock));
    }

    private Rendering run(Scope globals, Clock clock) {
        Evaluator evaluator = new Evaluator(clock);
        try {
            return evaluator.render(parsed.body(), new Scope(globals));
        } catch (TemplateError e) {
            throw e.at(evaluator.line());
        } catch (StackOverflowError e) {
            throw TemplateError.of("values are nested too deep").at(evaluator.line());
        }
    }
}
