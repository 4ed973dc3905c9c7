package anneal.text;

import java.nio.charset.StandardCharsets;

/**
 * GPT-2's spelling of bytes as printable characters: each of the 256 bytes has one character of its own, so that a
 * vocabulary of byte strings can be written as JSON.
 *
 * <p>Printable Latin-1 stands for itself, the other 68 bytes are U+0100, U+0101, ... in order.
 */
final class ByteAlphabet {
    private static final char[] CHAR_OF = new char[256];
    private static final short[] BYTE_OF = new short[0x144];

    static {
        java.util.Arrays.fill(BYTE_OF, (short) -1);
        int next = 0x100;
        for (int b = 0; b < 256; b++) {
            boolean printable = b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE;
            CHAR_OF[b] = (char) (printable ? b : next++);
            BYTE_OF[CHAR_OF[b]] = (short) b;
        }
    }

    private ByteAlphabet() {}

    static char charOf(int b) {
        return CHAR_OF[b & 0xFF];
    }

    /** The byte that {@code c} spells, or -1. */
    static int byteOf(char c) {
        return c < BYTE_OF.length ? BYTE_OF[c] : -1;
    }

    /** The UTF-8 bytes of {@code text}, spelled. */
    static String spell(String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        char[] out = new char[bytes.length];
        for (int i = 0; i < out.length; i++) {
            out[i] = charOf(bytes[i]);
        }
        return new String(out);
    }

    /** The bytes that {@code token} spells, or null if a character of it spells none. */
    static byte[] bytes(String token) {
        byte[] out = new byte[token.length()];
        for (int i = 0; i < out.length; i++) {
            int b = byteOf(token.charAt(i));
            if (b < 0) {
                return null;
            }
            out[i] = (byte) b;
        }
        return out;
    }
}
