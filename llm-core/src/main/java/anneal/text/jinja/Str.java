package anneal.text.jinja;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Strings as Python sees them: sequences of code points, with its idea of white space and letters. */
final class Str {
    private Str() {}

    /** Python's str.isspace for one character. */
    static boolean isSpace(int c) {
        return c >= 9 && c <= 13
                || c >= 0x1c && c <= 0x20
                || c == 0x85
                || c == 0xa0
                || c > 0xff && (Character.isSpaceChar(c));
    }

    static boolean isSpace(String s) {
        return !s.isEmpty() && s.codePoints().allMatch(Str::isSpace);
    }

    static List<Object> characters(String s) {
        List<Object> out = new ArrayList<>(s.length());
        s.codePoints().forEach(c -> out.add(Character.toString(c)));
        return out;
    }

    static int length(String s) {
        return s.codePointCount(0, s.length());
    }

    /** By code points, which differs from Java's order beyond the basic plane. */
    static int compare(String a, String b) {
        int n = Math.min(a.length(), b.length());
        for (int i = 0; i < n; i++) {
            char x = a.charAt(i);
            char y = b.charAt(i);
            if (x != y) {
                return Character.isSurrogate(x) != Character.isSurrogate(y)
                        ? (Character.isSurrogate(x) ? 1 : -1)
                        : Character.compare(x, y);
            }
        }
        return Integer.compare(a.length(), b.length());
    }

    /** {@code chars} null: white space. */
    static String strip(String s, String chars, boolean left, boolean right) {
        int from = 0;
        int to = s.length();
        while (left && from < to && strips(s.codePointAt(from), chars)) {
            from += Character.charCount(s.codePointAt(from));
        }
        while (right && from < to && strips(s.codePointBefore(to), chars)) {
            to -= Character.charCount(s.codePointBefore(to));
        }
        return s.substring(from, to);
    }

    private static boolean strips(int c, String chars) {
        return chars == null ? isSpace(c) : chars.indexOf(c) >= 0;
    }

    /** {@code str.split}, from the left or the right; {@code separator} null: runs of white space. */
    static List<Object> split(String s, String separator, long max, boolean fromRight) {
        if (separator != null && separator.isEmpty()) {
            throw TemplateError.of("empty separator");
        }
        long limit = max < 0 ? Long.MAX_VALUE : max;
        return separator == null ? splitSpace(s, limit, fromRight) : splitOn(s, separator, limit, fromRight);
    }

    private static List<Object> splitOn(String s, String separator, long limit, boolean fromRight) {
        List<Object> out = new ArrayList<>();
        int from = 0;
        int to = s.length();
        while (out.size() < limit) {
            int i = fromRight ? s.lastIndexOf(separator, to - separator.length()) : s.indexOf(separator, from);
            if (i < 0) {
                break;
            }
            if (fromRight) {
                out.addFirst(s.substring(i + separator.length(), to));
                to = i;
            } else {
                out.add(s.substring(from, i));
                from = i + separator.length();
            }
        }
        if (fromRight) {
            out.addFirst(s.substring(from, to));
        } else {
            out.add(s.substring(from, to));
        }
        return out;
    }

    private static List<Object> splitSpace(String s, long limit, boolean fromRight) {
        List<Object> out = new ArrayList<>();
        String rest = strip(s, null, true, true);
        while (!rest.isEmpty()) {
            int cut = out.size() < limit ? nextSpace(rest, fromRight) : -1;
            if (cut < 0) {
                String last = fromRight ? strip(rest, null, false, true) : strip(rest, null, true, false);
                last = out.size() < limit ? last : tail(s, rest, fromRight);
                if (fromRight) {
                    out.addFirst(last);
                } else {
                    out.add(last);
                }
                break;
            }
            if (fromRight) {
                out.addFirst(rest.substring(cut + 1));
                rest = strip(rest.substring(0, cut), null, false, true);
            } else {
                out.add(rest.substring(0, cut));
                rest = strip(rest.substring(cut), null, true, false);
            }
        }
        return out;
    }

    /** What is left when the limit is reached keeps the white space on its far side. */
    private static String tail(String s, String rest, boolean fromRight) {
        if (fromRight) {
            int lead = s.length() - strip(s, null, true, false).length();
            return s.substring(0, lead) + rest;
        }
        return rest + s.substring(strip(s, null, false, true).length());
    }

    private static int nextSpace(String s, boolean fromRight) {
        for (int k = 0; k < s.length(); k++) {
            int i = fromRight ? s.length() - 1 - k : k;
            if (isSpace(s.charAt(i))) {
                return i;
            }
        }
        return -1;
    }

    static List<Object> lines(String s, boolean keepEnds) {
        List<Object> out = new ArrayList<>();
        int from = 0;
        for (int i = 0; i < s.length(); i++) {
            char c = s.charAt(i);
            if (c >= 10 && c <= 13 || c >= 0x1c && c <= 0x1e || c == 0x85 || c == 0x2028 || c == 0x2029) {
                int end = c == '\r' && i + 1 < s.length() && s.charAt(i + 1) == '\n' ? i + 2 : i + 1;
                out.add(s.substring(from, keepEnds ? end : i));
                from = end;
                i = end - 1;
            }
        }
        if (from < s.length()) {
            out.add(s.substring(from));
        }
        return out;
    }

    static String upper(String s) {
        return s.toUpperCase(Locale.ROOT);
    }

    static String lower(String s) {
        return s.toLowerCase(Locale.ROOT);
    }

    static String capitalize(String s) {
        if (s.isEmpty()) {
            return s;
        }
        int first = s.offsetByCodePoints(0, 1);
        return titleCase(s.codePointAt(0)) + lower(s.substring(first));
    }

    private static String titleCase(int c) {
        int title = Character.toTitleCase(c);
        return title == c ? capital(Character.toString(c)) : Character.toString(title);
    }

    /** Characters like the sharp s, whose capital is two letters. */
    private static String capital(String c) {
        String up = upper(c);
        return up.length() > c.length() ? up.charAt(0) + lower(up.substring(1)) : up;
    }

    /** {@code str.title}: a letter after a non-letter is a capital. */
    static String title(String s) {
        StringBuilder out = new StringBuilder(s.length());
        boolean inWord = false;
        for (int c : s.codePoints().toArray()) {
            out.append(inWord ? lower(Character.toString(c)) : titleCase(c));
            inWord = isCased(c);
        }
        return out.toString();
    }

    static String swapCase(String s) {
        StringBuilder out = new StringBuilder(s.length());
        for (int c : s.codePoints().toArray()) {
            String one = Character.toString(c);
            out.append(Character.isUpperCase(c) ? lower(one) : Character.isLowerCase(c) ? upper(one) : one);
        }
        return out.toString();
    }

    static boolean isCased(int c) {
        return Character.isUpperCase(c) || Character.isLowerCase(c) || Character.isTitleCase(c);
    }

    /** {@code str.isupper}, or {@code str.islower}: some cased letter, and all cased letters of this case. */
    static boolean isCase(String s, boolean up) {
        return s.codePoints().anyMatch(Str::isCased)
                && s.codePoints()
                        .filter(Str::isCased)
                        .allMatch(c -> up ? Character.isUpperCase(c) : Character.isLowerCase(c));
    }

    static boolean isTitle(String s) {
        boolean inWord = false;
        boolean some = false;
        for (int c : s.codePoints().toArray()) {
            boolean capital = Character.isUpperCase(c) || Character.isTitleCase(c);
            if (capital && inWord || Character.isLowerCase(c) && !inWord) {
                return false;
            }
            inWord = isCased(c);
            some |= inWord;
        }
        return some;
    }

    static String pad(String s, long width, String fill, boolean left, boolean right) {
        if (length(fill) != 1) {
            throw TemplateError.of("The fill character must be exactly one character long");
        }
        long gap = Math.max(0, width - length(s));
        Budget.charge(gap);
        int missing = (int) gap;
        // Python puts the odd one out on the left when the width is odd.
        int before = left && right ? missing / 2 + (int) (missing & width & 1) : left ? missing : 0;
        return fill.repeat(before) + s + fill.repeat(missing - before);
    }

    /** {@code count} below zero: all. An empty {@code from} stands between all characters and at both ends. */
    static String replace(String s, String from, String to, long count) {
        StringBuilder out = new StringBuilder();
        int at = 0;
        for (long n = 0; n != count; n++) {
            int i = from.isEmpty() && n > 0 ? at + 1 : s.indexOf(from, at);
            if (i < 0 || i > s.length()) {
                break;
            }
            Budget.charge(to.length() + 1);
            out.append(s, at, i).append(to);
            at = i + from.length();
        }
        return out.append(s, at, s.length()).toString();
    }

    static String repeat(String s, long count) {
        long n = Math.max(0, count);
        Budget.charge(n > Integer.MAX_VALUE ? Long.MAX_VALUE / 2 : n * s.length());
        return s.repeat((int) n);
    }

    static String join(String separator, List<?> items) {
        StringBuilder out = new StringBuilder();
        for (int i = 0; i < items.size(); i++) {
            String item = Repr.str(items.get(i));
            Budget.charge(item.length() + separator.length());
            out.append(i == 0 ? "" : separator).append(item);
        }
        return out.toString();
    }
}
