package anneal.text;

import java.util.ArrayList;
import java.util.BitSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Keeps special tokens that people typed from being read as such in a rendered template, where the template's own are.
 *
 * <p>Every spelling of a special token in their text is broken by a mark, a code point that Unicode keeps for internal use
 * and that no message contains; the rendered text is cut at the marks and the parts are encoded one by one, so no part
 * holds the whole spelling.
 */
final class SpecialTokenGuard {
    private static final int FIRST_MARK = 0xFDD0;
    private static final int MARKS = 32;

    private final List<String> special = new ArrayList<>();
    private final BitSet firstLetters = new BitSet();

    SpecialTokenGuard(Tokenizer tokenizer) {
        for (int id = 0; id < tokenizer.vocabSize(); id++) {
            if (tokenizer.isSpecial(id)) {
                String token = tokenizer.token(id);
                // A token of one letter cannot be broken; no vocabulary has such a control token.
                if (token.codePointCount(0, token.length()) > 1) {
                    special.add(token);
                    firstLetters.set(token.charAt(0));
                }
            }
        }
    }

    /** A mark that occurs nowhere in {@code values}. */
    char mark(Object values) {
        BitSet used = new BitSet(MARKS);
        collectMarks(values, used);
        int free = used.nextClearBit(0);
        if (free >= MARKS) {
            throw new IllegalArgumentException(
                    "the text uses all 32 code points U+FDD0..U+FDEF, of which one must be free");
        }
        return (char) (FIRST_MARK + free);
    }

    private static void collectMarks(Object value, BitSet used) {
        switch (value) {
            case String s ->
                s.chars().filter(c -> c >= FIRST_MARK && c < FIRST_MARK + MARKS).forEach(c -> used.set(c - FIRST_MARK));
            case List<?> list -> list.forEach(item -> collectMarks(item, used));
            case Map<?, ?> map -> map.values().forEach(item -> collectMarks(item, used));
            case null -> {}
            default -> {}
        }
    }

    /** The same lists, maps and strings with special tokens broken by {@code mark}; keys stay. */
    @SuppressWarnings("unchecked")
    <T> T protect(T value, char mark) {
        return (T) protectAny(value, mark);
    }

    private Object protectAny(Object value, char mark) {
        return switch (value) {
            case null -> null;
            case String s -> protectText(s, mark);
            case List<?> list -> {
                List<Object> out = new ArrayList<>(list.size());
                list.forEach(item -> out.add(protectAny(item, mark)));
                yield out;
            }
            case Map<?, ?> map -> {
                Map<Object, Object> out = new LinkedHashMap<>();
                map.forEach((k, v) -> out.put(k, protectAny(v, mark)));
                yield out;
            }
            default -> value;
        };
    }

    private String protectText(String s, char mark) {
        if (s.chars().noneMatch(firstLetters::get)) {
            return s;
        }
        String out = s;
        for (String token : special) {
            if (out.contains(token)) {
                int first = token.offsetByCodePoints(0, 1);
                out = out.replace(token, token.substring(0, first) + mark + token.substring(first));
            }
        }
        return out;
    }
}
