package anneal.text.jinja;

import anneal.text.jinja.Node.*;
import anneal.text.jinja.Token.Kind;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Expressions of a template, by recursive descent. Binding, loosest first: {@code if else}, {@code or}, {@code and},
 * {@code not}, comparisons, {@code + -}, {@code ~}, {@code * / // %}, {@code **} (to the left, unlike Python's), sign,
 * then subscripts, calls, filters and tests.
 */
abstract sealed class ExpressionParser permits Parser {
    static final Map<String, Object> CONSTANTS = constants();

    /** Names read so far in the macro at hand: whether it uses varargs, kwargs, caller. */
    HashSet<String> namesRead = new HashSet<>();

    private final List<Token> tokens;
    private final int maxDepth;
    private int at;
    private int depth;

    ExpressionParser(List<Token> tokens, int maxDepth) {
        this.tokens = tokens;
        this.maxDepth = maxDepth;
    }

    private static Map<String, Object> constants() {
        Map<String, Object> map = new HashMap<>();
        for (String name : List.of("true", "false", "none")) {
            Object value = name.equals("none") ? null : (Object) name.equals("true");
            map.put(name, value);
            map.put(Character.toUpperCase(name.charAt(0)) + name.substring(1), value);
        }
        return map;
    }

    final Token peek() {
        return tokens.get(at);
    }

    final Token take() {
        Token token = tokens.get(at);
        if (token.kind() != Kind.END) {
            at++;
        }
        return token;
    }

    final int position() {
        return at;
    }

    final boolean skip(String operator) {
        boolean is = peek().isOperator(operator);
        at += is ? 1 : 0;
        return is;
    }

    final boolean skipName(String name) {
        boolean is = peek().isName(name);
        at += is ? 1 : 0;
        return is;
    }

    final String name(String what) {
        return expect(Kind.NAME, what).text();
    }

    final Token expect(Kind kind, String what) {
        if (peek().kind() != kind) {
            throw fail("expected " + what + ", found " + peek().describe());
        }
        return take();
    }

    final void expectOperator(String operator) {
        if (!skip(operator)) {
            throw fail("expected '" + operator + "', found " + peek().describe());
        }
    }

    final TemplateError fail(String message) {
        return fail(message, at);
    }

    final TemplateError fail(String message, int position) {
        return TemplateError.of(message).at(tokens.get(position).line());
    }

    final void enter() {
        if (++depth > maxDepth) {
            throw fail("nested deeper than " + maxDepth);
        }
    }

    final void leave() {
        depth--;
    }

    /** One expression, or a tuple of several with commas between them. */
    final Expr tuple() {
        return tuple(true);
    }

    /** The same where an {@code if} belongs to the statement, not to the expression. */
    final Expr tupleWithoutCondition(String... endNames) {
        return tuple(false, endNames);
    }

    private Expr tuple(boolean condition, String... endNames) {
        List<Expr> items = new ArrayList<>();
        boolean comma = false;
        do {
            if (comma && endsTuple(endNames)) {
                break;
            }
            items.add(condition ? expression() : or());
            comma |= peek().isOperator(",");
        } while (skip(","));
        return comma ? new ListExpr(items, true) : items.getFirst();
    }

    private boolean endsTuple(String... endNames) {
        Token t = peek();
        return t.kind() == Kind.VARIABLE_END
                || t.kind() == Kind.BLOCK_END
                || t.isOperator(")")
                || t.kind() == Kind.NAME && Arrays.asList(endNames).contains(t.text());
    }

    final Expr expression() {
        enter();
        Expr value = or();
        while (skipName("if")) {
            Expr test = or();
            value = new Conditional(test, value, skipName("else") ? expression() : null);
        }
        leave();
        return value;
    }

    private Expr or() {
        Expr left = and();
        while (skipName("or")) {
            left = new Or(left, and());
        }
        return left;
    }

    private Expr and() {
        Expr left = not();
        while (skipName("and")) {
            left = new And(left, not());
        }
        return left;
    }

    private Expr not() {
        if (skipName("not")) {
            enter();
            Expr value = new Not(not());
            leave();
            return value;
        }
        return compare();
    }

    private Expr compare() {
        Expr first = sum();
        List<String> operators = new ArrayList<>();
        List<Expr> others = new ArrayList<>();
        while (true) {
            Token t = peek();
            if (t.kind() == Kind.OPERATOR
                    && List.of("==", "!=", "<", "<=", ">", ">=").contains(t.text())) {
                operators.add(take().text());
            } else if (skipName("in")) {
                operators.add("in");
            } else if (t.isName("not") && tokens.get(at + 1).isName("in")) {
                at += 2;
                operators.add("not in");
            } else {
                break;
            }
            others.add(sum());
        }
        return operators.isEmpty() ? first : new Compare(first, operators, others);
    }

    private Expr sum() {
        Expr left = concat();
        while (peek().isOperator("+") || peek().isOperator("-")) {
            left = new Binary(take().text(), left, concat());
        }
        return left;
    }

    private Expr concat() {
        List<Expr> items = new ArrayList<>(List.of(product()));
        while (skip("~")) {
            items.add(product());
        }
        return items.size() == 1 ? items.getFirst() : new Concat(items);
    }

    private Expr product() {
        Expr left = power();
        while (peek().kind() == Kind.OPERATOR && List.of("*", "/", "//", "%").contains(peek().text())) {
            left = new Binary(take().text(), left, power());
        }
        return left;
    }

    private Expr power() {
        Expr left = unary(true);
        while (skip("**")) {
            left = new Binary("**", left, unary(true));
        }
        return left;
    }

    private Expr unary(boolean withFilter) {
        enter();
        Expr value;
        if (peek().isOperator("-") || peek().isOperator("+")) {
            boolean negate = take().isOperator("-");
            value = new Unary(negate, unary(false));
        } else {
            value = primary();
        }
        value = postfix(value);
        value = withFilter ? filtersAndTests(value) : value;
        leave();
        return value;
    }

    private Expr primary() {
        Token t = peek();
        switch (t.kind()) {
            case NAME -> {
                take();
                if (CONSTANTS.containsKey(t.text())) {
                    return new Literal(CONSTANTS.get(t.text()));
                }
                namesRead.add(t.text());
                return new Name(t.text());
            }
            case STRING -> {
                StringBuilder text = new StringBuilder();
                while (peek().kind() == Kind.STRING) {
                    text.append(take().text());
                }
                return new Literal(text.toString());
            }
            case INTEGER, FLOAT -> {
                return new Literal(take().value());
            }
            default -> {
                if (skip("(")) {
                    if (skip(")")) {
                        return new ListExpr(List.of(), true);
                    }
                    Expr inner = tuple();
                    expectOperator(")");
                    return inner;
                }
                if (skip("[")) {
                    return list();
                }
                if (skip("{")) {
                    return dict();
                }
                throw fail("unexpected " + t.describe());
            }
        }
    }

    private Expr list() {
        List<Expr> items = new ArrayList<>();
        while (!peek().isOperator("]")) {
            if (!items.isEmpty()) {
                expectOperator(",");
                if (peek().isOperator("]")) {
                    break;
                }
            }
            items.add(expression());
        }
        expectOperator("]");
        return new ListExpr(items, false);
    }

    private Expr dict() {
        List<Expr> keys = new ArrayList<>();
        List<Expr> values = new ArrayList<>();
        while (!peek().isOperator("}")) {
            if (!keys.isEmpty()) {
                expectOperator(",");
                if (peek().isOperator("}")) {
                    break;
                }
            }
            keys.add(expression());
            expectOperator(":");
            values.add(expression());
        }
        expectOperator("}");
        return new DictExpr(keys, values);
    }

    private Expr postfix(Expr start) {
        Expr value = start;
        while (true) {
            if (skip(".")) {
                Token t = take();
                if (t.kind() == Kind.NAME) {
                    value = new Attribute(value, t.text());
                } else if (t.kind() == Kind.INTEGER) {
                    value = new Item(value, new Literal(t.value()));
                } else {
                    throw fail("expected a name or number after '.', found " + t.describe());
                }
            } else if (skip("[")) {
                List<Expr> index = new ArrayList<>();
                do {
                    index.add(subscript());
                } while (skip(","));
                expectOperator("]");
                value = new Item(value, index.size() == 1 ? index.getFirst() : new ListExpr(index, true));
            } else if (peek().isOperator("(")) {
                value = new Call(value, arguments());
            } else {
                return value;
            }
        }
    }

    private Expr subscript() {
        Expr[] parts = new Expr[3];
        int part = 0;
        while (true) {
            Token t = peek();
            if (t.isOperator(":") && part < 2) {
                take();
                part++;
            } else if (t.isOperator("]") || t.isOperator(",")) {
                break;
            } else if (parts[part] == null) {
                parts[part] = expression();
            } else {
                throw fail("unexpected " + t.describe() + " in a subscript");
            }
        }
        if (part == 0 && parts[0] == null) {
            throw fail("expected a subscript");
        }
        return part == 0 ? parts[0] : new Slice(parts[0], parts[1], parts[2]);
    }

    private Expr filtersAndTests(Expr start) {
        Expr value = start;
        while (true) {
            if (skip("|")) {
                value = new Filter(value, filterUse());
            } else if (skipName("is")) {
                value = test(value);
            } else if (peek().isOperator("(")) {
                value = new Call(value, arguments());
            } else {
                return value;
            }
        }
    }

    /** {@code | a | b(c)}, possibly nothing. */
    final List<FilterUse> filters() {
        List<FilterUse> out = new ArrayList<>();
        while (skip("|")) {
            out.add(filterUse());
        }
        return out;
    }

    final FilterUse filterUse() {
        String name = name("a filter");
        return new FilterUse(name, peek().isOperator("(") ? arguments() : Arguments.NONE);
    }

    private Expr test(Expr value) {
        boolean negated = skipName("not");
        String name = name("a test");
        Arguments arguments = Arguments.NONE;
        Token t = peek();
        if (t.isOperator("(")) {
            arguments = arguments();
        } else if (startsArgument(t)) {
            if (t.isName("is")) {
                throw fail("tests cannot be chained with 'is'");
            }
            arguments = new Arguments(List.of(postfix(primary())), Map.of(), null, null);
        }
        Expr test = new Test(value, name, arguments);
        return negated ? new Not(test) : test;
    }

    private static boolean startsArgument(Token t) {
        return switch (t.kind()) {
            case NAME -> !List.of("else", "or", "and").contains(t.text());
            case STRING, INTEGER, FLOAT -> true;
            case OPERATOR -> t.isOperator("[") || t.isOperator("{");
            default -> false;
        };
    }

    private Arguments arguments() {
        expectOperator("(");
        List<Expr> positional = new ArrayList<>();
        Map<String, Expr> named = new LinkedHashMap<>();
        Expr star = null;
        Expr starStar = null;
        boolean first = true;
        while (!peek().isOperator(")")) {
            if (!first) {
                expectOperator(",");
                if (peek().isOperator(")")) {
                    break;
                }
            }
            first = false;
            if (skip("**")) {
                starStar = expression();
            } else if (skip("*")) {
                star = expression();
            } else if (peek().kind() == Kind.NAME && tokens.get(at + 1).isOperator("=")) {
                String name = take().text();
                take();
                if (named.put(name, expression()) != null) {
                    throw fail("argument '" + name + "' is given twice");
                }
            } else {
                if (!named.isEmpty() || starStar != null) {
                    throw fail("a positional argument must not follow a named one");
                }
                positional.add(expression());
            }
        }
        expectOperator(")");
        return new Arguments(positional, named, star, starStar);
    }
}
