package anneal.kernels.emit;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import anneal.kernels.emit.Vec.Ymm;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.List;

/**
 * Turns numbers that are one of 16 values times their block's scale into floats, NF4 and FP4, as {@code CodebookMatrix.widen}
 * does, to the bit: number i has its code in byte i / 2, the even ones in the upper four bits, and its scale at i / block.
 */
public final class CodebookWidening {
    /** Numbers that are widened together. */
    public static final int GROUP = 32;

    /** Where in 32 bits the eight codes of four bytes begin: the upper four bits of a byte come first. */
    static final int[] SHIFTS = {4, 0, 12, 8, 20, 16, 28, 24};

    private static final int FLOAT = 4, GROUP_BYTES = GROUP / 2;
    private static final FunctionDescriptor SIGNATURE = FunctionDescriptor.ofVoid(
            ADDRESS, ADDRESS, ADDRESS, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);

    private final MethodHandle call;

    /** Emits the function of 16 values for a level of the processor; the code lives as long as the arena. */
    public CodebookWidening(List<Float> values, Level level, Arena arena) {
        if (values.size() != 16) {
            throw new IllegalArgumentException("emit: there must be 16 values, not " + values.size());
        }
        this.call = CodeBuffer.function(arena, code(values, level), SIGNATURE);
    }

    /**
     * dst[0 .. count) = numbers [first, first + count) of a matrix.
     *
     * @param dst floats
     * @param codes all codes of the matrix
     * @param scales all its scales
     * @param block numbers that share a scale, a multiple of {@link #GROUP}, as are {@code first} and {@code count}
     * @throws IndexOutOfBoundsException if a segment is too short
     */
    public void widen(MemorySegment dst, MemorySegment codes, MemorySegment scales, int block, long first, int count) {
        if (block <= 0 || block % GROUP != 0 || first % GROUP != 0 || count % GROUP != 0) {
            throw new IllegalArgumentException("emit: numbers [" + first + ", " + (first + count) + ") in blocks of "
                    + block + " are no whole groups of " + GROUP);
        }
        Piece piece = new Piece(
                codes.asSlice(first / 2), 0, scales.asSlice(first / block * FLOAT), 0, block, (int) (first % block));
        rows(dst, piece, 1, count);
    }

    /**
     * A piece of a matrix whose rows are alike: columns of it share a scale in every row.
     *
     * @param codes the first row's and all that follow
     * @param codesApart bytes from row to row of codes
     * @param scales the first row's and all that follow
     * @param scalesApart bytes from row to row of scales
     * @param block numbers that share a scale, a multiple of {@link #GROUP}
     * @param from where in its block a row of the piece begins, a multiple of {@link #GROUP}
     */
    public record Piece(
            MemorySegment codes, long codesApart, MemorySegment scales, long scalesApart, int block, int from) {}

    /**
     * dst[i, 0 .. count) = row i of a piece.
     *
     * @param dst floats [rows, count]
     * @param count a multiple of {@link #GROUP}
     * @throws IndexOutOfBoundsException if a segment is too short
     */
    public void rows(MemorySegment dst, Piece p, int rows, int count) {
        if (p.block <= 0 || p.block % GROUP != 0 || p.from % GROUP != 0 || count % GROUP != 0) {
            throw new IllegalArgumentException("emit: numbers [" + p.from + ", " + (p.from + count) + ") in blocks of "
                    + p.block + " are no whole groups of " + GROUP);
        }
        long groups = count / GROUP, ofBlock = p.block / GROUP;
        long blocks = (p.from + count + p.block - 1) / p.block, codeBytes = count / 2, scaleBytes = blocks * FLOAT;
        if (rows > 1 && (p.codesApart < codeBytes || p.scalesApart < 0)) {
            throw new IllegalArgumentException(
                    "emit: rows of " + codeBytes + " bytes overlap when " + p.codesApart + " apart");
        }
        MemorySegment to = dst.asSlice(0, (long) FLOAT * Math.max(0, rows) * count),
                from = p.codes.asSlice(0, p.codesApart * Math.max(0, rows - 1) + codeBytes),
                factors = p.scales.asSlice(0, p.scalesApart * Math.max(0, rows - 1) + scaleBytes);
        if (count == 0 || rows <= 0) {
            return;
        }
        try {
            call.invokeExact(
                    to,
                    from,
                    factors,
                    groups,
                    ofBlock,
                    ofBlock - p.from / GROUP,
                    (long) rows,
                    p.codesApart - codeBytes,
                    p.scalesApart - (scaleBytes - FLOAT));
        } catch (Throwable e) {
            throw CodeBuffer.failure(e);
        }
    }

    /**
     * The function (dst, codes, scales, groups of a row, groups of a block, groups left in a row's first one, and on the stack: rows,
     * bytes from the codes at the end of a row to the next ones, bytes from the last scale of a row to the next row's first).
     *
     * <p>Four bytes are put into all lanes, and each lane shifts its own code to the lowest bits, which is all that a lookup
     * looks at. All levels use 256 bits, where the 16 values are two registers: from AVX-512 on one lookup takes both; before,
     * there are two, and the code's fourth bit, moved to the sign, chooses.
     *
     * <pre>
     * RDI  dst     RSI  codes     RDX  scale     RCX  groups of a row     R8  groups of a block     R9  those left in a first one
     * R10  rows left     R11  groups left in the row     RAX  groups left in the block
     * ymm0 codes   ymm1, ymm2  values looked up  ymm3 scale
     * ymm12, ymm13 the 16 values                 ymm14 how far each lane shifts
     * </pre>
     */
    static byte[] code(List<Float> values, Level level) {
        Assembler a = new Assembler();
        Vectors<Ymm> y = a.ymm();
        Constants constants = new Constants(a);
        Label row = new Label(), block = new Label(), group = new Label(), end = new Label();
        Ymm scale = y.reg(3);
        constants.address(
                Gp.RAX, values.stream().mapToInt(Float::floatToRawIntBits).toArray());
        y.vmovups(y.reg(12), Mem.at(Gp.RAX));
        y.vmovups(y.reg(13), Mem.at(Gp.RAX, 32));
        constants.lanes(y.reg(14), SHIFTS);
        a.mov(Gp.R10, Mem.at(Gp.RSP, 8));
        a.bind(row);
        a.mov(Gp.R11, Gp.RCX);
        a.mov(Gp.RAX, Gp.R9);
        a.bind(block);
        y.vbroadcastss(scale, Mem.at(Gp.RDX));
        a.bind(group);
        for (int i = 0; i < GROUP; i += y.lanes()) {
            Ymm found = lookup(y, level, Mem.at(Gp.RSI, i / 2), y.reg(14));
            y.vmulps(found, found, scale);
            y.vmovups(Mem.at(Gp.RDI, FLOAT * i), found);
        }
        a.add(Gp.RSI, GROUP_BYTES);
        a.add(Gp.RDI, FLOAT * GROUP);
        a.sub(Gp.R11, 1);
        a.jz(end);
        a.sub(Gp.RAX, 1);
        a.jnz(group);
        a.mov(Gp.RAX, Gp.R8);
        a.add(Gp.RDX, FLOAT);
        a.jmp(block);
        a.bind(end);
        a.mov(Gp.RAX, Mem.at(Gp.RSP, 16));
        a.add(Gp.RSI, Gp.RAX);
        a.mov(Gp.RAX, Mem.at(Gp.RSP, 24));
        a.add(Gp.RDX, Gp.RAX);
        a.sub(Gp.R10, 1);
        a.jnz(row);
        a.vzeroupper();
        a.ret();
        constants.end();
        return a.bytes();
    }

    /**
     * Where the values of the eight codes in four bytes are found; ymm0 to ymm2 are lost. What stands above a code's bits is
     * not looked at.
     */
    static Ymm lookup(Vectors<Ymm> y, Level level, Mem bytes, Ymm shifts) {
        Ymm codes = y.reg(0), first = y.reg(12), second = y.reg(13);
        y.vpbroadcastd(codes, bytes);
        y.vpsrlvd(codes, codes, shifts);
        if (level.has(Level.AVX512)) {
            y.vpermi2ps(codes, first, second);
            return codes;
        }
        Ymm low = y.reg(1), high = y.reg(2);
        y.vpermps(low, codes, first);
        y.vpermps(high, codes, second);
        y.vpslld(codes, codes, 28);
        y.vblendvps(low, low, high, codes);
        return low;
    }
}
