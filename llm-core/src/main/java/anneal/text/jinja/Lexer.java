package anneal.text.jinja;

import anneal.text.jinja.Token.Kind;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Cuts a template into tokens, with trim_blocks and lstrip_blocks on, as transformers configures Jinja.
 *
 * <p>A newline after a block or comment tag is dropped, blanks before one that starts its line are dropped; {@code -}
 * strips all white space on its side, {@code +} turns both rules off on its side.
 */
final class Lexer {
    private static final Pattern NUMBER = Pattern.compile("0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|0[xX](?:_?[0-9a-fA-F])+"
            + "|[0-9](?:_?[0-9])*(?<fraction>\\.[0-9](?:_?[0-9])*)?(?<exponent>[eE][+-]?[0-9](?:_?[0-9])*)?");
    private static final Pattern RAW = Pattern.compile("\\{%[-+]?\\s*raw\\s*-?%\\}");
    private static final Pattern ENDRAW = Pattern.compile("\\{%([-+]?)\\s*endraw\\s*([-+]?)%\\}");
    private static final List<String> OPERATORS = List.of(
            "//", "**", "==", "!=", ">=", "<=", "+", "-", "*", "/", "%", "~", "<", ">", "=", ".", ":", ",", "|", "(",
            ")", "[", "]", "{", "}");

    private final String source;
    private final List<Token> tokens = new ArrayList<>();
    private int at;
    private int line = 1;
    private boolean lineStart = true;

    private Lexer(String source) {
        this.source = source;
    }

    static List<Token> tokens(String template) {
        String source = template.replace("\r\n", "\n").replace('\r', '\n');
        if (source.endsWith("\n")) {
            source = source.substring(0, source.length() - 1);
        }
        Lexer lexer = new Lexer(source);
        lexer.template();
        return lexer.tokens;
    }

    private void template() {
        while (at < source.length()) {
            int tag = nextTag(at);
            if (tag < 0) {
                data(source.substring(at));
                at = source.length();
                break;
            }
            char kind = source.charAt(tag + 1);
            char sign = tag + 2 < source.length() ? source.charAt(tag + 2) : ' ';
            data(beforeTag(source.substring(at, tag), sign, kind != '{'));
            line += newlines(at, tag);
            at = tag;
            if (kind == '#') {
                comment();
            } else if (kind == '%' && startsRaw()) {
                raw();
            } else {
                int begin = line;
                at += sign == '-' || sign == '+' ? 3 : 2;
                tokens.add(new Token(kind == '{' ? Kind.VARIABLE_BEGIN : Kind.BLOCK_BEGIN, "", null, begin));
                code(kind == '{', begin);
            }
        }
        tokens.add(new Token(Kind.END, "", null, line));
    }

    private int nextTag(int from) {
        for (int i = source.indexOf('{', from); i >= 0 && i + 1 < source.length(); i = source.indexOf('{', i + 1)) {
            char c = source.charAt(i + 1);
            if (c == '{' || c == '%' || c == '#') {
                return i;
            }
        }
        return -1;
    }

    private String beforeTag(String text, char sign, boolean strips) {
        if (sign == '-') {
            return Str.strip(text, null, false, true);
        }
        if (strips && sign != '+') {
            int start = text.lastIndexOf('\n') + 1;
            if ((start > 0 || lineStart) && start < text.length() && Str.isSpace(text.substring(start))) {
                return text.substring(0, start);
            }
        }
        return text;
    }

    /** After a tag's end: what its sign, or trim_blocks, takes away. */
    private void afterTag(char sign, boolean trims) {
        int from = at;
        if (sign == '-') {
            while (at < source.length() && Str.isSpace(source.charAt(at))) {
                at++;
            }
        } else if (trims && sign != '+' && at < source.length() && source.charAt(at) == '\n') {
            at++;
        }
        line += newlines(from, at);
        lineStart = at > 0 && source.charAt(at - 1) == '\n';
    }

    private void comment() {
        int end = source.indexOf("#}", at + 2);
        if (end < 0) {
            throw TemplateError.of("missing end of comment tag").at(line);
        }
        char sign = end > at + 2 ? source.charAt(end - 1) : ' ';
        line += newlines(at, end);
        at = end + 2;
        afterTag(sign, true);
    }

    private boolean startsRaw() {
        return RAW.matcher(source).region(at, source.length()).lookingAt();
    }

    private void raw() {
        Matcher open = RAW.matcher(source).region(at, source.length());
        open.lookingAt();
        int begin = line;
        line += newlines(at, open.end());
        at = open.end();
        afterTag(source.charAt(at - 3), false);
        Matcher close = ENDRAW.matcher(source);
        if (!close.find(at)) {
            throw TemplateError.of("missing end of raw tag").at(begin);
        }
        String open1 = close.group(1);
        data(beforeTag(source.substring(at, close.start()), open1.isEmpty() ? ' ' : open1.charAt(0), true));
        line += newlines(at, close.end());
        at = close.end();
        afterTag(close.group(2).isEmpty() ? ' ' : close.group(2).charAt(0), true);
    }

    private void data(String text) {
        if (!text.isEmpty()) {
            tokens.add(new Token(Kind.DATA, text, null, line));
        }
    }

    private void code(boolean variable, int begin) {
        int brackets = 0;
        while (true) {
            skipSpace();
            if (at >= source.length()) {
                throw TemplateError.of("unexpected end of template, missing '" + (variable ? "}}" : "%}") + "'")
                        .at(begin);
            }
            if (brackets == 0 && endsTag(variable)) {
                return;
            }
            Token token = next();
            tokens.add(token);
            if (token.kind() == Kind.OPERATOR) {
                char c = token.text().charAt(0);
                brackets += "([{".indexOf(c) >= 0 ? 1 : ")]}".indexOf(c) >= 0 ? -1 : 0;
                if (brackets < 0) {
                    throw TemplateError.of("unexpected '" + c + "'").at(line);
                }
            }
        }
    }

    private boolean endsTag(boolean variable) {
        char c = source.charAt(at);
        int skip = c == '-' || c == '+' && !variable ? 1 : 0;
        if (!source.startsWith(variable ? "}}" : "%}", at + skip)) {
            return false;
        }
        tokens.add(new Token(variable ? Kind.VARIABLE_END : Kind.BLOCK_END, "", null, line));
        at += skip + 2;
        afterTag(skip == 1 ? c : ' ', !variable);
        return true;
    }

    private void skipSpace() {
        while (at < source.length() && Str.isSpace(source.charAt(at))) {
            if (source.charAt(at) == '\n') {
                line++;
            }
            at++;
        }
    }

    private Token next() {
        char c = source.charAt(at);
        if (c == '"' || c == '\'') {
            return string(c);
        }
        if (c >= '0' && c <= '9') {
            return number();
        }
        if (Character.isUnicodeIdentifierStart(c) || c == '_') {
            int start = at;
            while (at < source.length()
                    && Character.isUnicodeIdentifierPart(source.charAt(at))
                    && !Character.isIdentifierIgnorable(source.charAt(at))) {
                at++;
            }
            return new Token(Kind.NAME, source.substring(start, at), null, line);
        }
        for (String operator : OPERATORS) {
            if (source.startsWith(operator, at)) {
                at += operator.length();
                return new Token(Kind.OPERATOR, operator, null, line);
            }
        }
        throw TemplateError.of("unexpected character '" + c + "'").at(line);
    }

    private Token number() {
        Matcher m = NUMBER.matcher(source).region(at, source.length());
        m.lookingAt();
        String digits = m.group().replace("_", "");
        // "xs.0.1" is two subscripts, not the number 0.1.
        boolean subscript = !tokens.isEmpty() && tokens.getLast().isOperator(".");
        if (subscript && m.group("fraction") != null) {
            digits = digits.substring(0, digits.indexOf('.'));
            at += digits.length();
            return new Token(Kind.INTEGER, digits, Num.integer(new BigInteger(digits)), line);
        }
        at = m.end();
        if (m.group("fraction") != null || m.group("exponent") != null) {
            return new Token(Kind.FLOAT, digits, Double.parseDouble(digits), line);
        }
        int radix = digits.length() < 2
                ? 10
                : switch (Character.toLowerCase(digits.charAt(1))) {
                    case 'x' -> 16;
                    case 'o' -> 8;
                    case 'b' -> 2;
                    default -> 10;
                };
        if (digits.length() > Num.MAX_DIGITS) {
            throw TemplateError.of("number with " + digits.length() + " digits").at(line);
        }
        BigInteger value = new BigInteger(radix == 10 ? digits : digits.substring(2), radix);
        return new Token(Kind.INTEGER, digits, Num.integer(value), line);
    }

    private Token string(char quote) {
        int begin = line;
        int end = at + 1;
        while (end < source.length() && source.charAt(end) != quote) {
            end += source.charAt(end) == '\\' ? 2 : 1;
        }
        if (end >= source.length()) {
            throw TemplateError.of("string without end").at(begin);
        }
        String text = unescape(source.substring(at + 1, end), begin);
        line += newlines(at, end);
        at = end + 1;
        return new Token(Kind.STRING, text, null, begin);
    }

    /** Python's escapes; an unknown one stays as it is. */
    private static String unescape(String s, int line) {
        if (s.indexOf('\\') < 0) {
            return s;
        }
        StringBuilder out = new StringBuilder();
        for (int i = 0; i < s.length(); i++) {
            char c = s.charAt(i);
            if (c != '\\') {
                out.append(c);
                continue;
            }
            char e = s.charAt(++i);
            int simple = "\n\\'\"abfnrtv".indexOf(e);
            if (e == 'x' || e == 'u' || e == 'U') {
                int length = e == 'x' ? 2 : e == 'u' ? 4 : 8;
                out.appendCodePoint(hex(s, i + 1, length, e, line));
                i += length;
            } else if (e >= '0' && e <= '7') {
                int end = i + 1;
                while (end < s.length() && end < i + 3 && s.charAt(end) >= '0' && s.charAt(end) <= '7') {
                    end++;
                }
                out.appendCodePoint(Integer.parseInt(s, i, end, 8));
                i = end - 1;
            } else if (simple >= 0) {
                out.append(List.of("", "\\", "'", "\"", "\u0007", "\b", "\f", "\n", "\r", "\t", "\u000b")
                        .get(simple));
            } else {
                out.append('\\').append(e);
            }
        }
        return out.toString();
    }

    private static int hex(String s, int from, int length, char kind, int line) {
        try {
            int code = Integer.parseInt(s, from, from + length, 16);
            if (Character.isValidCodePoint(code) && s.charAt(from) != '+' && s.charAt(from) != '-') {
                return code;
            }
        } catch (NumberFormatException | IndexOutOfBoundsException e) {
            // falls through to the error below, which says the same for all of them
        }
        throw TemplateError.of("malformed escape \\" + kind + " in a string").at(line);
    }

    private int newlines(int from, int to) {
        int n = 0;
        for (int i = source.indexOf('\n', from); i >= 0 && i < to; i = source.indexOf('\n', i + 1)) {
            n++;
        }
        return n;
    }
}
