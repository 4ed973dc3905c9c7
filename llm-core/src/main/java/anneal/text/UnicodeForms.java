package anneal.text;

import java.nio.CharBuffer;
import java.text.Normalizer;

/** Unicode normalisation forms that keep track of where each character came from (Unicode Annex 15). */
final class UnicodeForms {
    private UnicodeForms() {}

    static AlignedText apply(AlignedText text, Normalizer.Form form) {
        if (isPlain(text, form)) {
            return text;
        }
        CharBuffer view = CharBuffer.wrap(text.chars, text.from, text.to - text.from);
        if (Normalizer.isNormalized(view, form)) {
            return text;
        }
        AlignedText.Builder out = new AlignedText.Builder(text.to - text.from);
        for (int i = text.from; i < text.to; ) {
            int end = i + Character.charCount(text.codePointAt(i));
            while (end < text.to && mayJoin(text.codePointAt(end))) {
                end += Character.charCount(text.codePointAt(end));
            }
            cluster(text, i, end, form, out);
            i = end;
        }
        return out.build();
    }

    /** Text that no form changes, told by a glance: below U+0300 for NFC, ASCII for the others. */
    private static boolean isPlain(AlignedText text, Normalizer.Form form) {
        char bound = form == Normalizer.Form.NFC ? '\u0300' : '\u0080';
        for (int i = text.from; i < text.to; i++) {
            if (text.chars[i] >= bound) {
                return false;
            }
        }
        return true;
    }

    /** True if {@code c} may combine with, or be reordered against, what stands before it. */
    private static boolean mayJoin(int c) {
        int type = Character.getType(c);
        return type == Character.NON_SPACING_MARK
                || type == Character.COMBINING_SPACING_MARK
                || type == Character.ENCLOSING_MARK
                || c >= 0x1160 && c <= 0x11FF // Hangul vowels and finals
                || c >= 0xD7B0 && c <= 0xD7FF
                || c >= 0x3130 && c <= 0x318F // their compatibility forms
                || c >= 0xFF9E && c <= 0xFFDC; // half-width voicing marks and Hangul
    }

    /**
     * Normalises one cluster. Each original character is decomposed: its first part stands for it (change 0), the others
     * are insertions (change +1). A composed character's change is the sum of its parts' changes less one for each part
     * but the first. Walking the result, a change of +1 takes the span of the character before and consumes nothing; a
     * change of -n takes the span of the current character and consumes n + 1.
     */
    private static void cluster(AlignedText text, int from, int to, Normalizer.Form form, AlignedText.Builder out) {
        String original = new String(text.chars, from, to - from);
        int[] result = Normalizer.normalize(original, form).codePoints().toArray();
        boolean compatible = form == Normalizer.Form.NFKC || form == Normalizer.Form.NFKD;
        Normalizer.Form apart = compatible ? Normalizer.Form.NFKD : Normalizer.Form.NFD;
        int[] source = original.codePoints().toArray();
        int[] parts = new int[64];
        int[] changes = new int[64];
        int n = 0;
        for (int c : source) {
            int[] decomposed = Normalizer.normalize(Character.toString(c), apart)
                    .codePoints()
                    .toArray();
            for (int k = 0; k < decomposed.length; k++) {
                if (n == parts.length) {
                    parts = java.util.Arrays.copyOf(parts, 2 * n);
                    changes = java.util.Arrays.copyOf(changes, 2 * n);
                }
                parts[n] = decomposed[k];
                changes[n++] = k == 0 ? 0 : 1;
            }
        }
        boolean composing = form == Normalizer.Form.NFC || form == Normalizer.Form.NFKC;
        int at = 0; // index into source
        int unit = from; // the same in units
        int previousStart = from > text.from ? text.start(from - 1) : text.start(from);
        int previousEnd = from > text.from ? text.end(from - 1) : text.start(from);
        for (int c : result) {
            int change = change(c, composing, apart, parts, changes, n);
            if (change > 0 || at == source.length) {
                out.addCodePoint(c, previousStart, previousEnd);
                continue;
            }
            int width = Character.charCount(source[at]);
            out.addCodePoint(c, text.start(unit), text.end(unit + width - 1));
            for (int k = 0; k <= -change && at < source.length; k++) {
                width = Character.charCount(source[at++]);
                previousStart = text.start(unit);
                previousEnd = text.end(unit + width - 1);
                unit += width;
            }
        }
    }

    /** The change of {@code c}, whose parts are taken out of {@code parts} (marked by -1). */
    private static int change(int c, boolean composing, Normalizer.Form apart, int[] parts, int[] changes, int n) {
        int[] needed = composing
                ? Normalizer.normalize(Character.toString(c), apart)
                        .codePoints()
                        .toArray()
                : new int[] {c};
        int change = 1 - needed.length;
        for (int part : needed) {
            for (int i = 0; i < n; i++) {
                if (parts[i] == part) {
                    parts[i] = -1;
                    change += changes[i];
                    break;
                }
            }
        }
        return change;
    }
}
