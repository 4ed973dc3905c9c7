package anneal.kernels;

import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * Eight stored numbers of a file at a time as a vector: bytes, halves, nibbles.
 *
 * <p>The species are fixed, not the machine's preferred ones: eight bytes are the least that a vector of bytes can be, so eight
 * floats it is. Where vectors have fewer than 256 bits these would not be compiled well; {@link #FAST} is false there.
 */
final class VectorCodes {
    static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_256;
    private static final VectorSpecies<Integer> INTS = IntVector.SPECIES_256;
    private static final VectorSpecies<Short> SHORTS = ShortVector.SPECIES_128;
    private static final VectorSpecies<Byte> BYTES = ByteVector.SPECIES_64;
    private static final ByteOrder LITTLE = ByteOrder.LITTLE_ENDIAN;

    /** True where vectors of eight floats are registers of the machine. */
    static final boolean FAST = FloatVector.SPECIES_PREFERRED.length() >= 8;

    private VectorCodes() {}

    /** Eight signed bytes. */
    static IntVector bytes(MemorySegment s, long at) {
        return (IntVector) ByteVector.fromMemorySegment(BYTES, s, at, LITTLE).castShape(INTS, 0);
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
    static FloatVector bfloats(MemorySegment s, long at) {
        return shorts(s, at).lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
    }

    /**
     * Eight IEEE halves. Exponent and fraction are moved to their place in a single and the exponent's bias is mended by a
     * multiplication, which is exact and brings subnormals along; what was infinite or no number is put back.
     */
    static FloatVector halves(MemorySegment s, long at) {
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

    private static IntVector shorts(MemorySegment s, long at) {
        return (IntVector) ShortVector.fromMemorySegment(SHORTS, s, at, LITTLE).castShape(INTS, 0);
    }
}
