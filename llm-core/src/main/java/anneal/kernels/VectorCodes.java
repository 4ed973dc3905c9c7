package anneal.kernels;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * What {@link VectorWiden} and {@link VectorDot} share: the species of eight stored numbers at a time, and single numbers.
 *
 * <p>Both read arrays, into which pieces of the file are copied first: a vector load from a segment is so much more code to the
 * compiler that it reached its limits in the middle of a loop.
 *
 * <p>The species are fixed, not the machine's preferred ones: eight bytes are the least that a vector of bytes can be, so eight
 * floats it is. Where vectors have fewer than 256 bits these would not be compiled well; {@link #FAST} is false there.
 */
final class VectorCodes {
    static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_256;
    static final VectorSpecies<Integer> INTS = IntVector.SPECIES_256;
    static final VectorSpecies<Byte> BYTES = ByteVector.SPECIES_64;
    static final VarHandle SHORT = MethodHandles.byteArrayViewVarHandle(short[].class, ByteOrder.LITTLE_ENDIAN);
    static final VarHandle INT = MethodHandles.byteArrayViewVarHandle(int[].class, ByteOrder.LITTLE_ENDIAN);

    /** How far each lane shifts for its own of eight codes of 4 bits, the lower ones of a byte first. */
    static final IntVector NIBBLES = IntVector.fromArray(INTS, new int[] {0, 4, 8, 12, 16, 20, 24, 28}, 0);

    /** The same, the upper ones of a byte first. */
    static final IntVector UPPER_FIRST = IntVector.fromArray(INTS, new int[] {4, 0, 12, 8, 20, 16, 28, 24}, 0);

    /** How far each lane shifts for its own of eight bits. */
    static final IntVector BITS = IntVector.fromArray(INTS, new int[] {0, 1, 2, 3, 4, 5, 6, 7}, 0);

    /** True where vectors of eight floats are registers of the machine. */
    static final boolean FAST = FloatVector.SPECIES_PREFERRED.length() >= 8;

    private VectorCodes() {}

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
