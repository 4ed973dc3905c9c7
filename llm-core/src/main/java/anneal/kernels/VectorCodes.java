package anneal.kernels;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * Eight stored numbers of a file at a time as a vector: bytes, halves, nibbles.
 *
 * <p>They are read from arrays, into which pieces of the file are copied first: a vector load from a segment is so much more
 * code to the compiler that it stopped inlining in the middle of a loop (measured: ten times slower then).
 *
 * <p>The species are fixed, not the machine's preferred ones: eight bytes are the least that a vector of bytes can be, so eight
 * floats it is. Where vectors have fewer than 256 bits these would not be compiled well; {@link #FAST} is false there.
 */
final class VectorCodes {
    static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_256;
    private static final VectorSpecies<Integer> INTS = IntVector.SPECIES_256;
    private static final VectorSpecies<Byte> BYTES = ByteVector.SPECIES_64;
    private static final VarHandle SHORT = MethodHandles.byteArrayViewVarHandle(short[].class, ByteOrder.LITTLE_ENDIAN);

    /** True where vectors of eight floats are registers of the machine. */
    static final boolean FAST = FloatVector.SPECIES_PREFERRED.length() >= 8;

    private VectorCodes() {}

    /** Eight signed bytes. */
    static IntVector bytes(byte[] s, int at) {
        return (IntVector) ByteVector.fromArray(BYTES, s, at).castShape(INTS, 0);
    }

    static FloatVector floats(IntVector codes) {
        return (FloatVector) codes.convertShape(VectorOperators.I2F, FLOATS, 0);
    }

    /** The lower nibbles of {@link #bytes}. */
    static FloatVector low(IntVector bytes) {
        return floats(bytes.and(15));
    }

    /** The upper nibbles of {@link #bytes}. */
    static FloatVector high(IntVector bytes) {
        return floats(bytes.lanewise(VectorOperators.LSHR, 4).and(15));
    }

    /** Eight bfloat16 numbers. */
    static FloatVector bfloats(byte[] s, int at) {
        return shorts(s, at).lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
    }

    /**
     * Eight IEEE halves. Exponent and fraction are moved to their place in a single and the exponent's bias is mended by a
     * multiplication, which is exact and brings subnormals along; what was infinite or no number is put back.
     */
    static FloatVector halves(byte[] s, int at) {
        IntVector bits = shorts(s, at), magnitude = bits.and(0x7FFF);
        FloatVector value = magnitude
                .lanewise(VectorOperators.LSHL, 13)
                .reinterpretAsFloats()
                .mul(0x1p112f);
        IntVector single = value.reinterpretAsInts();
        single = single.lanewise(VectorOperators.OR, 0x7F800000, magnitude.compare(VectorOperators.GE, 0x7C00));
        return single.or(bits.lanewise(VectorOperators.LSHL, 16).and(0x80000000))
                .reinterpretAsFloats();
    }

    private static IntVector shorts(byte[] s, int at) {
        return (IntVector) ByteVector.fromArray(ByteVector.SPECIES_128, s, at)
                .reinterpretAsShorts()
                .castShape(INTS, 0);
    }

    /** One half. */
    static float half(byte[] s, int at) {
        return Float.float16ToFloat((short) SHORT.get(s, at));
    }

    /** One bfloat16 number. */
    static float bfloat(byte[] s, int at) {
        return Float.intBitsToFloat((short) SHORT.get(s, at) << 16);
    }

    /** As {@link BlockFormat#scale}. */
    static int scale(byte[] s, int at, int g) {
        return g < 4 ? s[at + g] & 63 : s[at + g + 4] & 15 | (s[at + g - 4] & 0xC0) >> 2;
    }

    /** As {@link BlockFormat#minimum}. */
    static int minimum(byte[] s, int at, int g) {
        return g < 4 ? s[at + g + 4] & 63 : (s[at + g + 4] & 0xF0) >> 4 | (s[at + g] & 0xC0) >> 2;
    }
}
