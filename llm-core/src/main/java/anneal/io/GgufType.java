package anneal.io;

/** Types of metadata values in GGUF, in the order of their numbers in the file. */
public enum GgufType {
    /** Unsigned integers of 8 bits; as all integers, given as a Long. */
    UINT8(1),
    INT8(1),
    UINT16(2),
    INT16(2),
    UINT32(4),
    INT32(4),
    /** Given as a Float. */
    FLOAT32(4),
    /** Given as a Boolean. */
    BOOL(1),
    /** Length, then UTF-8. */
    STRING(0),
    /** Element type, number of elements, elements; given as a {@link GgufArray}. */
    ARRAY(0),
    /** Given as a Long, above 2^63 - 1 as a BigInteger. */
    UINT64(8),
    INT64(8),
    /** Given as a Double. */
    FLOAT64(8);

    private final int bytes;

    GgufType(int bytes) {
        this.bytes = bytes;
    }

    /** Bytes of a value, 0 if that varies. */
    int bytes() {
        return bytes;
    }

    /** The least number of bytes a value takes: what a count can be held against. */
    int leastBytes() {
        return switch (this) {
            case STRING -> 8;
            case ARRAY -> 12;
            default -> bytes;
        };
    }
}
