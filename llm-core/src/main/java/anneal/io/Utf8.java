package anneal.io;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;

/** UTF-8 taken at its word. JSON parsers guess at UTF-16 and UTF-32 when bytes are 0, which our files never are. */
final class Utf8 {
    private Utf8() {}

    /** The text; bytes that are no UTF-8 are an error. */
    static String decode(byte[] bytes) {
        ByteBuffer from = ByteBuffer.wrap(bytes);
        try {
            return StandardCharsets.UTF_8
                    .newDecoder()
                    .onMalformedInput(CodingErrorAction.REPORT)
                    .onUnmappableCharacter(CodingErrorAction.REPORT)
                    .decode(from)
                    .toString();
        } catch (CharacterCodingException e) {
            throw new IllegalArgumentException("no UTF-8 at byte " + from.position(), e);
        }
    }
}
