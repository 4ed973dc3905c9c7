package anneal.text;

/**
 * Makes characters of bytes that come one at a time. What can never become a character is U+FFFD: one for each byte, or
 * one for the longest beginning of a character (Unicode, "substitution of maximal subparts").
 */
final class Utf8Assembler {
    private static final char REPLACEMENT = '\uFFFD';

    private final boolean replaceEachByte;
    private final byte[] held = new byte[4];
    private int count;
    private int needed;

    Utf8Assembler(boolean replaceEachByte) {
        this.replaceEachByte = replaceEachByte;
    }

    void add(byte b, StringBuilder out) {
        int v = b & 0xFF;
        if (count > 0) {
            if (continues(v)) {
                held[count++] = b;
                if (count == needed) {
                    complete(out);
                }
                return;
            }
            flush(out);
        }
        if (v < 0x80) {
            out.append((char) v);
        } else if (v < 0xC2 || v > 0xF4) {
            out.append(REPLACEMENT);
        } else {
            held[0] = b;
            count = 1;
            needed = v < 0xE0 ? 2 : v < 0xF0 ? 3 : 4;
        }
    }

    /** Gives up on what is held. */
    void flush(StringBuilder out) {
        if (count > 0) {
            out.repeat(REPLACEMENT, replaceEachByte ? count : 1);
            count = 0;
        }
    }

    /** The second byte is bounded more closely: no overlong forms, no surrogates, nothing above U+10FFFF. */
    private boolean continues(int v) {
        int low = 0x80;
        int high = 0xBF;
        if (count == 1) {
            switch (held[0] & 0xFF) {
                case 0xE0 -> low = 0xA0;
                case 0xED -> high = 0x9F;
                case 0xF0 -> low = 0x90;
                case 0xF4 -> high = 0x8F;
                default -> {}
            }
        }
        return v >= low && v <= high;
    }

    private void complete(StringBuilder out) {
        int c = held[0] & (needed == 2 ? 0x1F : needed == 3 ? 0x0F : 0x07);
        for (int i = 1; i < needed; i++) {
            c = c << 6 | held[i] & 0x3F;
        }
        out.appendCodePoint(c);
        count = 0;
    }
}
