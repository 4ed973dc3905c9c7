package anneal.text.jinja;

import anneal.text.jinja.Node.*;
import anneal.text.jinja.Token.Kind;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.function.Supplier;

/** Statements of a template, by recursive descent; {@link ExpressionParser} reads what stands inside them. */
final class Parser extends ExpressionParser {
    private int loops;
    private boolean marksGeneration;

    private Parser(List<Token> tokens, int maxDepth) {
        super(tokens, maxDepth);
    }

    record Parsed(List<Stmt> body, boolean marksGeneration) {}

    static Parsed parse(String source, int maxDepth) {
        Parser parser = new Parser(Lexer.tokens(source), maxDepth);
        List<Stmt> body = parser.body(List.of());
        return new Parsed(body, parser.marksGeneration);
    }

    /** Up to a tag whose name is in {@code ends}, whose name is left to be read; or to the end of the template. */
    private List<Stmt> body(List<String> ends) {
        enter();
        List<Stmt> out = new ArrayList<>();
        while (true) {
            Token token = take();
            switch (token.kind()) {
                case DATA -> out.add(new Text(token.text(), token.line()));
                case VARIABLE_BEGIN -> {
                    out.add(new Print(tuple(), token.line()));
                    expect(Kind.VARIABLE_END, "'}}'");
                }
                case BLOCK_BEGIN -> {
                    if (peek().kind() == Kind.NAME && ends.contains(peek().text())) {
                        leave();
                        return out;
                    }
                    out.add(statement(token.line()));
                    expect(Kind.BLOCK_END, "'%}'");
                }
                default -> {
                    if (!ends.isEmpty()) {
                        throw fail("unexpected end of template, looked for '" + String.join("' or '", ends) + "'");
                    }
                    leave();
                    return out;
                }
            }
        }
    }

    /** A body and its end tag's name; the caller's caller reads the closing '%}'. */
    private List<Stmt> bodyUntil(String end) {
        expect(Kind.BLOCK_END, "'%}'");
        List<Stmt> body = body(List.of(end));
        take();
        return body;
    }

    private Stmt statement(int line) {
        String name = name("a tag name");
        return switch (name) {
            case "for" -> forLoop(line);
            case "if" -> ifElse(line);
            case "set" -> set(line);
            case "macro" -> {
                String macro = name("the macro's name");
                yield new MacroStmt(macro(macro, signature(), "endmacro"), line);
            }
            case "call" -> {
                int before = position();
                boolean parameters = peek().isOperator("(");
                MacroSignature signature = parameters ? signature() : MacroSignature.NONE;
                if (!(expression() instanceof Call call)) {
                    throw fail("expected a call after 'call'", before);
                }
                yield new CallBlock(call, macro("caller", signature, "endcall"), line);
            }
            case "filter" -> {
                List<FilterUse> filters = new ArrayList<>(List.of(filterUse()));
                filters.addAll(filters());
                yield new FilterBlock(filters, bodyUntil("endfilter"), line);
            }
            case "with" -> with(line);
            case "generation" -> {
                marksGeneration = true;
                yield new Generation(outsideLoop(() -> bodyUntil("endgeneration")), line);
            }
            case "break", "continue" -> {
                if (loops == 0) {
                    throw fail("'" + name + "' outside a loop");
                }
                yield name.equals("break") ? new Break(line) : new Continue(line);
            }
            case "include", "import", "from", "extends" ->
                throw fail("tag '" + name + "' reads other files, which a chat template may not");
            default -> throw fail("unknown tag '" + name + "'");
        };
    }

    private Stmt forLoop(int line) {
        Target target = target(true);
        if (!peek().isName("in")) {
            throw fail("expected 'in', found " + peek().describe());
        }
        take();
        Expr items = tupleWithoutCondition("recursive");
        Expr filter = skipName("if") ? expression() : null;
        boolean recursive = skipName("recursive");
        expect(Kind.BLOCK_END, "'%}'");
        loops++;
        List<Stmt> body = body(List.of("endfor", "else"));
        loops--;
        List<Stmt> otherwise = List.of();
        if (take().isName("else")) {
            otherwise = bodyUntil("endfor");
        }
        return new For(target, items, filter, recursive, body, otherwise, line);
    }

    private Stmt ifElse(int line) {
        List<Branch> branches = new ArrayList<>();
        while (true) {
            Expr test = tupleWithoutCondition();
            expect(Kind.BLOCK_END, "'%}'");
            branches.add(new Branch(test, body(List.of("elif", "else", "endif"))));
            String tag = take().text();
            if (tag.equals("endif")) {
                return new If(branches, List.of(), line);
            }
            if (tag.equals("else")) {
                return new If(branches, bodyUntil("endif"), line);
            }
        }
    }

    private Stmt set(int line) {
        Target target = target(true);
        if (skip("=")) {
            return new Set(target, tuple(), line);
        }
        return new SetBlock(target, filters(), bodyUntil("endset"), line);
    }

    private Stmt with(int line) {
        List<Target> targets = new ArrayList<>();
        List<Expr> values = new ArrayList<>();
        while (peek().kind() != Kind.BLOCK_END) {
            if (!targets.isEmpty()) {
                expectOperator(",");
            }
            targets.add(target(false));
            expectOperator("=");
            values.add(expression());
        }
        return new With(targets, values, bodyUntil("endwith"), line);
    }

    private record MacroSignature(List<String> parameters, List<Expr> defaults) {
        static final MacroSignature NONE = new MacroSignature(List.of(), List.of());
    }

    private MacroSignature signature() {
        List<String> parameters = new ArrayList<>();
        List<Expr> defaults = new ArrayList<>();
        expectOperator("(");
        while (!peek().isOperator(")")) {
            if (!parameters.isEmpty()) {
                expectOperator(",");
            }
            parameters.add(name("a parameter"));
            if (skip("=")) {
                defaults.add(expression());
            } else if (!defaults.isEmpty()) {
                throw fail("parameter without default after one with default");
            }
        }
        expectOperator(")");
        return new MacroSignature(parameters, defaults);
    }

    private MacroNode macro(String name, MacroSignature signature, String end) {
        HashSet<String> outer = namesRead;
        namesRead = new HashSet<>();
        List<Stmt> body = outsideLoop(() -> bodyUntil(end));
        MacroNode macro = new MacroNode(
                name,
                signature.parameters(),
                signature.defaults(),
                body,
                namesRead.contains("varargs"),
                namesRead.contains("kwargs"),
                namesRead.contains("caller"));
        outer.addAll(namesRead);
        namesRead = outer;
        return macro;
    }

    /** A body that is a function of its own: an outer loop cannot be left from inside. */
    private List<Stmt> outsideLoop(Supplier<List<Stmt>> body) {
        int outer = loops;
        loops = 0;
        List<Stmt> out = body.get();
        loops = outer;
        return out;
    }

    private Target target(boolean withTuple) {
        List<Target> items = new ArrayList<>();
        boolean comma = false;
        do {
            if (comma && endsTarget()) {
                break;
            }
            items.add(targetItem());
            comma |= peek().isOperator(",");
        } while (withTuple && skip(","));
        return comma && withTuple ? new TupleTarget(items) : items.getFirst();
    }

    private boolean endsTarget() {
        return peek().isName("in") || peek().isOperator("=") || peek().kind() == Kind.BLOCK_END;
    }

    private Target targetItem() {
        if (peek().isOperator("(") || peek().isOperator("[")) {
            String close = take().isOperator("(") ? ")" : "]";
            Target inner = target(true);
            expectOperator(close);
            return inner instanceof TupleTarget ? inner : close.equals("]") ? new TupleTarget(List.of(inner)) : inner;
        }
        String name = name("a name to assign to");
        if (CONSTANTS.containsKey(name)) {
            throw fail("cannot assign to '" + name + "'");
        }
        return skip(".") ? new NamespaceTarget(name, name("an attribute")) : new NameTarget(name);
    }
}
