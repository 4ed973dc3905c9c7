package anneal.text;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * A SentencePiece model file: the few fields of its protocol buffer that encoding needs, read by a small reader of our
 * own.
 *
 * <p>ModelProto: 1 pieces (1 spelling, 2 score, 3 type), 2 trainer (3 model type, 24 blank as suffix, 35 byte fallback,
 * 41 begin, 42 end, 43 padding), 3 normaliser (2 character map, 3 prefix, 4 remove extra blanks, 5 escape blanks).
 */
final class SentencePieceModel {
    /** What a piece is, in the file's numbering (1 .. 6). */
    enum Type {
        NORMAL,
        UNKNOWN,
        CONTROL,
        USER_DEFINED,
        UNUSED,
        BYTE;

        /** The type of number {@code n}. */
        static Type of(long n, String where) {
            if (n < 1 || n > values().length) {
                throw new IllegalArgumentException(where + ": piece type " + n + " is not one of 1 to 6");
            }
            return values()[(int) n - 1];
        }
    }

    /** A piece of the vocabulary; its id is its place. */
    record Piece(String text, float score, Type type) {}

    private static final String[] MODEL_TYPES = {"none", "unigram", "bpe", "word", "char"};

    final List<Piece> pieces = new ArrayList<>();
    int beginId = 1;
    int endId = 2;
    int padId = -1;
    boolean byteFallback;
    byte[] charsMap = {};
    boolean addPrefix = true;
    boolean removeExtraBlanks = true;
    boolean escapeBlanks = true;

    private final String file;
    private long modelType = 1;
    private boolean blankAsSuffix;

    private SentencePieceModel(String file) {
        this.file = file;
    }

    /** @param file named in errors */
    static SentencePieceModel parse(byte[] bytes, String file) {
        SentencePieceModel m = new SentencePieceModel(file);
        Message message = new Message(bytes, 0, bytes.length, file);
        while (message.next()) {
            switch (message.field) {
                case 1 -> m.pieces.add(m.piece(message.message()));
                case 2 -> m.trainer(message.message());
                case 3 -> m.normalizer(message.message());
                default -> message.skip();
            }
        }
        if (m.pieces.isEmpty()) {
            throw new IllegalArgumentException(file + ": not a SentencePiece model: it has no pieces");
        }
        if (m.modelType != 2) {
            String name = m.modelType >= 0 && m.modelType < MODEL_TYPES.length
                    ? MODEL_TYPES[(int) m.modelType]
                    : String.valueOf(m.modelType);
            throw new IllegalArgumentException(
                    file + ": trainer_spec.model_type " + name + " is not supported: only bpe is");
        }
        if (m.blankAsSuffix) {
            throw new IllegalArgumentException(
                    file + ": trainer_spec.treat_whitespace_as_suffix is not supported: blanks must stand in front");
        }
        return m;
    }

    private Piece piece(Message m) {
        String text = "";
        float score = 0;
        Type type = Type.NORMAL;
        while (m.next()) {
            switch (m.field) {
                case 1 -> text = new String(m.bytes(), StandardCharsets.UTF_8);
                case 2 -> score = m.float32();
                case 3 -> type = Type.of(m.varint(), file);
                default -> m.skip();
            }
        }
        return new Piece(text, score, type);
    }

    private void trainer(Message m) {
        while (m.next()) {
            switch (m.field) {
                case 3 -> modelType = m.varint();
                case 24 -> blankAsSuffix = m.varint() != 0;
                case 35 -> byteFallback = m.varint() != 0;
                case 41 -> beginId = (int) m.varint();
                case 42 -> endId = (int) m.varint();
                case 43 -> padId = (int) m.varint();
                default -> m.skip();
            }
        }
    }

    private void normalizer(Message m) {
        while (m.next()) {
            switch (m.field) {
                case 2 -> charsMap = m.bytes();
                case 3 -> addPrefix = m.varint() != 0;
                case 4 -> removeExtraBlanks = m.varint() != 0;
                case 5 -> escapeBlanks = m.varint() != 0;
                default -> m.skip();
            }
        }
    }

    /** The fields of one protocol buffer message, in order. */
    private static final class Message {
        private final byte[] in;
        private final int end;
        private final String file;
        private int at;
        private int wireType;
        int field;

        Message(byte[] in, int from, int end, String file) {
            this.in = in;
            this.at = from;
            this.end = end;
            this.file = file;
        }

        boolean next() {
            if (at == end) {
                return false;
            }
            long tag = rawVarint();
            field = (int) (tag >>> 3);
            wireType = (int) (tag & 7);
            return true;
        }

        long varint() {
            expect(0);
            return rawVarint();
        }

        float float32() {
            expect(5);
            int from = advance(4);
            return ByteBuffer.wrap(in).order(ByteOrder.LITTLE_ENDIAN).getFloat(from);
        }

        byte[] bytes() {
            expect(2);
            int n = length();
            int from = advance(n);
            return java.util.Arrays.copyOfRange(in, from, from + n);
        }

        Message message() {
            expect(2);
            int n = length();
            int from = advance(n);
            return new Message(in, from, from + n, file);
        }

        void skip() {
            switch (wireType) {
                case 0 -> rawVarint();
                case 1 -> advance(8);
                case 2 -> advance(length());
                case 5 -> advance(4);
                default -> throw broken("wire type " + wireType + " of field " + field);
            }
        }

        private int length() {
            long n = rawVarint();
            if (n < 0 || n > end - at) {
                throw broken("field " + field + " claims " + Long.toUnsignedString(n) + " bytes where " + (end - at)
                        + " are left");
            }
            return (int) n;
        }

        private int advance(int n) {
            if (n > end - at) {
                throw broken("truncated in field " + field);
            }
            int from = at;
            at += n;
            return from;
        }

        private long rawVarint() {
            long value = 0;
            for (int shift = 0; shift < 64; shift += 7) {
                if (at == end) {
                    throw broken("truncated in field " + field);
                }
                byte b = in[at++];
                value |= (long) (b & 0x7F) << shift;
                if (b >= 0) {
                    return value;
                }
            }
            throw broken("number longer than 64 bits in field " + field);
        }

        private void expect(int type) {
            if (wireType != type) {
                throw broken("field " + field + " has wire type " + wireType + ", not " + type);
            }
        }

        private IllegalArgumentException broken(String what) {
            return new IllegalArgumentException(
                    file + ": not a SentencePiece model (byte " + at + " of " + in.length + "): " + what);
        }
    }
}
