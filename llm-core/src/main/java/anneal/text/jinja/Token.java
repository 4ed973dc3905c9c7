package anneal.text.jinja;

/**
 * One token of a template.
 *
 * @param kind what it is
 * @param text data, name, operator or decoded string
 * @param value the number, for INTEGER and FLOAT
 * @param line counted from 1
 */
record Token(Kind kind, String text, Object value, int line) {
    enum Kind {
        DATA,
        VARIABLE_BEGIN,
        VARIABLE_END,
        BLOCK_BEGIN,
        BLOCK_END,
        NAME,
        STRING,
        INTEGER,
        FLOAT,
        OPERATOR,
        END
    }

    boolean isName(String name) {
        return kind == Kind.NAME && text.equals(name);
    }

    boolean isOperator(String operator) {
        return kind == Kind.OPERATOR && text.equals(operator);
    }

    String describe() {
        return switch (kind) {
            case END -> "end of template";
            case VARIABLE_END -> "'}}'";
            case BLOCK_END -> "'%}'";
            case DATA, VARIABLE_BEGIN, BLOCK_BEGIN -> "template text";
            case STRING -> "string '" + text + "'";
            default -> "'" + text + "'";
        };
    }
}
