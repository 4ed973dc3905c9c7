package anneal.text;

import java.nio.charset.StandardCharsets;

/**
 * SentencePiece's normaliser: characters by the longest match in the model's map, blanks as U+2581, one of them put in
 * front. Source: Kudo and Richardson, arXiv:1808.06226, and the sentencepiece library's behaviour.
 *
 * @param map character map, or null for none
 * @param prefix whether a blank is put before each text that is not empty, before the first only, or never
 * @param removeExtraBlanks blanks at the ends are dropped and runs of them become one
 * @param escapeBlanks blanks are written U+2581
 */
record SentencePieceNormalizer(
        CharsMap map, PreTokenizer.Metaspace.Scheme prefix, boolean removeExtraBlanks, boolean escapeBlanks) {
    static final char BLANK = '\u2581';

    AlignedText apply(AlignedText text) {
        return map == null && !removeExtraBlanks ? blanksOnly(text) : mapped(text);
    }

    private boolean prefixed(AlignedText text) {
        return prefix == PreTokenizer.Metaspace.Scheme.ALWAYS
                || prefix == PreTokenizer.Metaspace.Scheme.FIRST && text.start(text.from) == 0;
    }

    /** Without a map, only blanks change: the same as {@link #mapped}, in one pass. */
    private AlignedText blanksOnly(AlignedText text) {
        AlignedText.Builder out = new AlignedText.Builder(text.to - text.from + 1);
        char blank = escapeBlanks ? BLANK : ' ';
        if (!text.isEmpty() && prefixed(text)) {
            out.add(blank, text.start(text.from), text.start(text.from));
        }
        for (int i = text.from; i < text.to; i++) {
            char c = text.chars[i];
            out.add(c == ' ' ? blank : c, text.start(i), text.end(i));
        }
        return out.build();
    }

    private AlignedText mapped(AlignedText text) {
        AlignedText.Builder out = new AlignedText.Builder(text.to - text.from + 1);
        Source source = new Source(text);
        char blank = escapeBlanks ? BLANK : ' ';
        boolean afterBlank = removeExtraBlanks;
        boolean started = false;
        while (source.next()) {
            String s = source.replacement;
            if (removeExtraBlanks && !started && s.equals(" ")) {
                continue; // leading blanks
            }
            if (!started) {
                started = true;
                if (prefixed(text)) {
                    out.add(blank, source.start, source.start);
                }
            }
            int k = 0;
            while (afterBlank && k < s.length() && s.charAt(k) == ' ') {
                k++;
            }
            for (int j = k; j < s.length(); j++) {
                char c = s.charAt(j);
                out.add(c == ' ' ? blank : c, source.start, source.end);
            }
            if (k < s.length()) {
                afterBlank = removeExtraBlanks && s.charAt(s.length() - 1) == ' ';
            }
        }
        while (removeExtraBlanks && out.size() > 0 && out.last() == blank) {
            out.dropLast();
        }
        return out.build();
    }

    /** Walks the text, one replacement at a time. */
    private final class Source {
        private final AlignedText text;
        private final byte[] utf8; // only when there is a map
        private int byteAt;
        private int at;
        String replacement;
        int start;
        int end;

        Source(AlignedText text) {
            this.text = text;
            this.at = text.from;
            this.utf8 = map == null ? null : text.toString().getBytes(StandardCharsets.UTF_8);
        }

        boolean next() {
            if (at >= text.to) {
                return false;
            }
            int from = at;
            long found = map == null ? -1 : map.find(utf8, byteAt, utf8.length);
            if (found == -1) {
                int c = text.codePointAt(at);
                advance(c);
                replacement = Character.toString(c);
            } else {
                int stop = byteAt + (int) (found >>> 32);
                while (byteAt < stop) {
                    advance(text.codePointAt(at));
                }
                replacement = map.replacement((int) found);
            }
            start = text.start(from);
            end = text.end(at - 1);
            return true;
        }

        private void advance(int c) {
            at += Character.charCount(c);
            // getBytes writes an unpaired surrogate as one byte, '?'
            byteAt += c < 0x80 || c >= 0xD800 && c <= 0xDFFF ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        }
    }
}
