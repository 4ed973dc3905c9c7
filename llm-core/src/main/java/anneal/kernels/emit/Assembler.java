package anneal.kernels.emit;

import anneal.kernels.emit.Vec.Xmm;
import anneal.kernels.emit.Vec.Ymm;
import anneal.kernels.emit.Vec.Zmm;
import java.util.Arrays;

/**
 * Writes x86-64 instructions as bytes: integers, branches and labels here, vectors in {@link Vectors}.
 *
 * <p>Only what the kernels need. Names and operand order are those of Intel's manual (destination first); encodings follow its
 * volume 2, "Instruction Format", and choose the shortest form as GNU as does, which the tests compare with byte by byte.
 */
final class Assembler {
    private byte[] code = new byte[1024];
    private int size;
    private int open;

    /** The code so far; every label must be bound. */
    byte[] bytes() {
        if (open > 0) {
            throw new IllegalStateException("emit: " + open + " jumps go to labels that were never bound");
        }
        return Arrays.copyOf(code, size);
    }

    /** Instructions on 128-bit registers. */
    Vectors<Xmm> xmm() {
        return new Vectors<>(this, 128, Xmm::new);
    }

    /** Instructions on 256-bit registers. */
    Vectors<Ymm> ymm() {
        return new Vectors<>(this, 256, Ymm::new);
    }

    /** Instructions on 512-bit registers. */
    Vectors<Zmm> zmm() {
        return new Vectors<>(this, 512, Zmm::new);
    }

    // ---------------------------------------------------------------- integers

    void mov(Gp to, Gp from) {
        rex(1, from.number(), 0, to.number());
        put(0x89);
        registers(from.number(), to.number());
    }

    /** A number of 32 bits, extended with its sign. */
    void mov(Gp to, int value) {
        rex(1, 0, 0, to.number());
        put(0xC7);
        registers(0, to.number());
        put4(value);
    }

    void mov(Gp to, Mem from) {
        integer(0x8B, 1, to.number(), from);
    }

    void mov(Mem to, Gp from) {
        integer(0x89, 1, from.number(), to);
    }

    /** The lower 32 bits. */
    void mov32(Mem to, Gp from) {
        integer(0x89, 0, from.number(), to);
    }

    void lea(Gp to, Mem from) {
        integer(0x8D, 1, to.number(), from);
    }

    /** The address of a place in the code: constants stand behind the last instruction. */
    void lea(Gp to, Label place) {
        rex(1, to.number(), 0, 0);
        put(0x8D);
        put((to.number() & 7) << 3 | 5); // relative to the next instruction
        distance(place);
    }

    void add(Gp to, Gp by) {
        rex(1, by.number(), 0, to.number());
        put(0x01);
        registers(by.number(), to.number());
    }

    void add(Gp to, int by) {
        arithmetic(0, to, by);
    }

    /** to = from * by. */
    void imul(Gp to, Gp from, int by) {
        boolean small = (byte) by == by;
        rex(1, to.number(), 0, from.number());
        put(small ? 0x6B : 0x69);
        registers(to.number(), from.number());
        if (small) {
            put(by);
        } else {
            put4(by);
        }
    }

    void sub(Gp to, int by) {
        arithmetic(5, to, by);
    }

    void sub(Gp to, Gp by) {
        rex(1, by.number(), 0, to.number());
        put(0x29);
        registers(by.number(), to.number());
    }

    void and(Gp to, int by) {
        arithmetic(4, to, by);
    }

    void cmp(Gp a, int b) {
        arithmetic(7, a, b);
    }

    void cmp(Gp a, Gp b) {
        rex(1, b.number(), 0, a.number());
        put(0x39);
        registers(b.number(), a.number());
    }

    void cmp(Gp a, Mem b) {
        integer(0x3B, 1, a.number(), b);
    }

    void test(Gp a, Gp b) {
        rex(1, b.number(), 0, a.number());
        put(0x85);
        registers(b.number(), a.number());
    }

    private void arithmetic(int operation, Gp to, int by) {
        rex(1, 0, 0, to.number());
        boolean small = (byte) by == by;
        if (!small && to == Gp.RAX) {
            put(operation << 3 | 5);
        } else {
            put(small ? 0x83 : 0x81);
            registers(operation, to.number());
        }
        if (small) {
            put(by);
        } else {
            put4(by);
        }
    }

    void push(Gp r) {
        rex(0, 0, 0, r.number());
        put(0x50 | r.number() & 7);
    }

    void pop(Gp r) {
        rex(0, 0, 0, r.number());
        put(0x58 | r.number() & 7);
    }

    void ret() {
        put(0xC3);
    }

    /** EAX, EBX, ECX, EDX = what the processor says about itself, by EAX and ECX. */
    void cpuid() {
        put(0x0F);
        put(0xA2);
    }

    /** EDX:EAX = which registers the operating system saves. */
    void xgetbv() {
        put(0x0F);
        put(0x01);
        put(0xD0);
    }

    void prefetcht0(Mem m) {
        rexFor(0, 1, m);
        put(0x0F);
        put(0x18);
        memory(1, m, 1);
    }

    void vzeroupper() {
        put(0xC5);
        put(0xF8);
        put(0x77);
    }

    // ---------------------------------------------------------------- branches

    /** Names the place of the next instruction. */
    void bind(Label label) {
        label.at = size;
        for (int place : label.waiting) {
            fill(place, size);
        }
        open -= label.waiting.size();
        label.waiting.clear();
    }

    void jmp(Label to) {
        jump(to, 0xEB, 0xE9, -1);
    }

    /** Jumps if the result before was 0, or equal. */
    void jz(Label to) {
        jump(to, 0x74, 0x84, 0x0F);
    }

    /** Jumps if the result before was not 0, or not equal. */
    void jnz(Label to) {
        jump(to, 0x75, 0x85, 0x0F);
    }

    /** Jumps if less, with signs. */
    void jl(Label to) {
        jump(to, 0x7C, 0x8C, 0x0F);
    }

    /** Jumps if greater or equal, with signs. */
    void jge(Label to) {
        jump(to, 0x7D, 0x8D, 0x0F);
    }

    /** Backwards by one byte where that reaches; forwards always by four, since the distance is not known. */
    private void jump(Label to, int near, int far, int escape) {
        if (to.at >= 0 && to.at - (size + 2) >= Byte.MIN_VALUE) {
            put(near);
            put(to.at - (size + 1));
            return;
        }
        if (escape >= 0) {
            put(escape);
        }
        put(far);
        distance(to);
    }

    /** Four bytes: how far it is from behind them to a label; filled in later where that is not bound yet. */
    private void distance(Label to) {
        put4(0);
        if (to.at >= 0) {
            fill(size - 4, to.at);
        } else {
            to.waiting.add(size - 4);
            open++;
        }
    }

    private void fill(int place, int target) {
        int distance = target - (place + 4);
        for (int i = 0; i < 4; i++) {
            code[place + i] = (byte) (distance >> 8 * i);
        }
    }

    // ---------------------------------------------------------------- encoding

    void put(int b) {
        if (size == code.length) {
            code = Arrays.copyOf(code, 2 * size);
        }
        code[size++] = (byte) b;
    }

    void put4(int value) {
        for (int i = 0; i < 4; i++) {
            put(value >> 8 * i);
        }
    }

    private void integer(int opcode, int wide, int reg, Mem m) {
        rexFor(wide, reg, m);
        put(opcode);
        memory(reg, m, 1);
    }

    private void rexFor(int wide, int reg, Mem m) {
        rex(wide, reg, m.index() == null ? 0 : m.index().number(), m.base().number());
    }

    /** The prefix that carries the fourth bit of register numbers, if there is anything to carry. */
    private void rex(int wide, int reg, int index, int base) {
        int bits = wide << 3 | reg >> 3 << 2 | index >> 3 << 1 | base >> 3;
        if (bits != 0) {
            put(0x40 | bits);
        }
    }

    /** ModRM of two registers. */
    void registers(int reg, int rm) {
        put(0xC0 | (reg & 7) << 3 | rm & 7);
    }

    /**
     * ModRM, SIB and displacement of a place in memory.
     *
     * @param unit what a displacement of one byte counts: 1, or the operand's bytes with EVEX
     */
    void memory(int reg, Mem m, int unit) {
        int base = m.base().number() & 7, d = m.displacement();
        boolean sib = m.index() != null || base == 4; // RSP and R12 as base need one
        boolean none = d == 0 && base != 5; // RBP and R13 without displacement mean something else
        boolean small = d % unit == 0 && (byte) (d / unit) == d / unit;
        put((none ? 0 : small ? 0x40 : 0x80) | (reg & 7) << 3 | (sib ? 4 : base));
        if (sib) {
            int index = m.index() == null ? 4 : m.index().number() & 7;
            put(Integer.numberOfTrailingZeros(m.scale()) << 6 | index << 3 | base);
        }
        if (!none && small) {
            put(d / unit);
        } else if (!none) {
            put4(d);
        }
    }
}
