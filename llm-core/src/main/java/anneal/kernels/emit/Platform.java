package anneal.kernels.emit;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * What emitted code needs of an operating system: memory that may be executed, and its way of passing arguments.
 *
 * <p>Kernels are written for System V's convention on x86-64: arguments in RDI, RSI, RDX, RCX, R8, R9, then on the stack; RBX, RBP
 * and R12 to R15 belong to the caller, vector registers to nobody. A system with another convention puts its own instructions
 * around them ({@link #callable}), and a red zone of 128 bytes below RSP, which some kernels use. Another processor needs its own assembler and kernels.
 */
sealed interface Platform permits LinuxX64 {
    /** The one that this JVM runs on; null if there is none for it. */
    static Platform mine() {
        return LinuxX64.here() ? LinuxX64.INSTANCE : null;
    }

    /** Asks the system to let this process use tile registers, of which it saves 8 KB for each thread; false if it does not. */
    boolean allowTiles();

    /** A kernel as this system's callers can call it. */
    byte[] callable(byte[] kernel);

    /**
     * Memory with the code in it, which can be executed and not written, for as long as the arena lives.
     *
     * @throws UnsupportedOperationException if the system forbids it
     */
    MemorySegment executable(Arena arena, byte[] code);
}
