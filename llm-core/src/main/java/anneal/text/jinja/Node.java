package anneal.text.jinja;

import java.util.List;
import java.util.Map;

/** The syntax tree of a template: statements and expressions, nothing else. */
sealed interface Node {
    /** What writes text or changes a scope. */
    sealed interface Stmt extends Node {
        int line();
    }

    record Text(String text, int line) implements Stmt {}

    record Print(Expr value, int line) implements Stmt {}

    record If(List<Branch> branches, List<Stmt> otherwise, int line) implements Stmt {}

    record Branch(Expr test, List<Stmt> body) {}

    /** {@code filter} is null without {@code if}. */
    record For(
            Target target, Expr items, Expr filter, boolean recursive, List<Stmt> body, List<Stmt> otherwise, int line)
            implements Stmt {}

    record Set(Target target, Expr value, int line) implements Stmt {}

    /** {@code {% set x | filter %}body{% endset %}}. */
    record SetBlock(Target target, List<FilterUse> filters, List<Stmt> body, int line) implements Stmt {}

    record FilterBlock(List<FilterUse> filters, List<Stmt> body, int line) implements Stmt {}

    record With(List<Target> targets, List<Expr> values, List<Stmt> body, int line) implements Stmt {}

    record MacroStmt(MacroNode macro, int line) implements Stmt {}

    record CallBlock(Call call, MacroNode caller, int line) implements Stmt {}

    /** What the model says itself: {@code {% generation %}}. */
    record Generation(List<Stmt> body, int line) implements Stmt {}

    record Break(int line) implements Stmt {}

    record Continue(int line) implements Stmt {}

    /** Defaults belong to the last parameters; the flags say which of the three special names the body reads. */
    record MacroNode(
            String name,
            List<String> parameters,
            List<Expr> defaults,
            List<Stmt> body,
            boolean readsVarargs,
            boolean readsKwargs,
            boolean readsCaller) {}

    /** Where a value is put. */
    sealed interface Target {}

    record NameTarget(String name) implements Target {}

    record TupleTarget(List<Target> items) implements Target {}

    record NamespaceTarget(String namespace, String attribute) implements Target {}

    /** What has a value. */
    sealed interface Expr extends Node {}

    record Literal(Object value) implements Expr {}

    record Name(String name) implements Expr {}

    record ListExpr(List<Expr> items, boolean tuple) implements Expr {}

    record DictExpr(List<Expr> keys, List<Expr> values) implements Expr {}

    record Attribute(Expr object, String name) implements Expr {}

    record Item(Expr object, Expr index) implements Expr {}

    /** Absent parts are null. */
    record Slice(Expr start, Expr stop, Expr step) implements Expr {}

    record Call(Expr function, Arguments arguments) implements Expr {}

    record Filter(Expr value, FilterUse use) implements Expr {}

    record FilterUse(String name, Arguments arguments) {}

    record Test(Expr value, String name, Arguments arguments) implements Expr {}

    record Not(Expr value) implements Expr {}

    record And(Expr left, Expr right) implements Expr {}

    record Or(Expr left, Expr right) implements Expr {}

    /** {@code otherwise} is null without {@code else}. */
    record Conditional(Expr test, Expr then, Expr otherwise) implements Expr {}

    /** {@code a < b < c}: operators between neighbours. */
    record Compare(Expr first, List<String> operators, List<Expr> others) implements Expr {}

    record Concat(List<Expr> items) implements Expr {}

    record Binary(String operator, Expr left, Expr right) implements Expr {}

    record Unary(boolean negate, Expr value) implements Expr {}

    /** {@code star} and {@code starStar} are null when absent. */
    record Arguments(List<Expr> positional, Map<String, Expr> named, Expr star, Expr starStar) {
        static final Arguments NONE = new Arguments(List.of(), Map.of(), null, null);
    }
}
