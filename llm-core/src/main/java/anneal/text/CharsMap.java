package anneal.text;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/**
 * SentencePiece's precompiled character map: a double-array trie from UTF-8 strings to their replacements.
 *
 * <p>Layout: u32 size of the trie in bytes, the trie's units (u32 each), then the replacements, each ended by a zero
 * byte. Little endian.
 */
final class CharsMap {
    private final int[] units;
    private final byte[] replacements;
    private final String where;

    /** @param where names the file and key in errors */
    CharsMap(byte[] blob, String where) {
        this.where = where;
        ByteBuffer in = ByteBuffer.wrap(blob).order(ByteOrder.LITTLE_ENDIAN);
        int size = blob.length < 4 ? -1 : in.getInt();
        if (size < 4 || size % 4 != 0 || size > in.remaining()) {
            throw new IllegalArgumentException(where + ": trie of " + Integer.toUnsignedString(size)
                    + " bytes does not fit a character map of " + blob.length);
        }
        units = new int[size / 4];
        in.asIntBuffer().get(units);
        in.position(in.position() + size);
        replacements = new byte[in.remaining()];
        in.get(replacements);
    }

    /**
     * The longest match at {@code from}: number of bytes in the high half and index of the replacement in the low half,
     * or -1.
     */
    long find(byte[] text, int from, int to) {
        long found = -1;
        int node = offset(units[0]);
        for (int i = from; i < to; i++) {
            node ^= text[i] & 0xFF;
            int unit = unit(node);
            if ((unit & 0x800000FF) != (text[i] & 0xFF)) {
                break;
            }
            node ^= offset(unit);
            if ((unit >>> 8 & 1) == 1) {
                found = (long) (i + 1 - from) << 32 | unit(node) & 0x7FFFFFFF;
            }
        }
        return found;
    }

    /** The replacement at an index that {@link #find} gave. */
    String replacement(int index) {
        int end = index;
        while (end < replacements.length && replacements[end] != 0) {
            end++;
        }
        if (index > replacements.length) {
            throw new IllegalArgumentException(where + ": replacement at byte " + index + " of a character map with "
                    + replacements.length + " bytes of replacements");
        }
        return new String(replacements, index, end - index, StandardCharsets.UTF_8);
    }

    private int unit(int node) {
        if (node < 0 || node >= units.length) {
            throw new IllegalArgumentException(
                    where + ": trie node " + node + " of a character map with " + units.length + " nodes");
        }
        return units[node];
    }

    private static int offset(int unit) {
        return unit >>> 10 << ((unit & 1 << 9) >>> 6);
    }
}
