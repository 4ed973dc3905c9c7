package anneal.kernels.emit;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/** Memory that ends, or begins, at a page that nobody may touch: one byte too far and the JVM is gone. */
final class GuardedMemory {
    private static final long PAGE = 4096;

    private static final MethodHandle MMAP =
            LinuxX64.function("mmap", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_LONG);
    private static final MethodHandle MPROTECT =
            LinuxX64.function("mprotect", JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_INT);
    private static final MethodHandle MUNMAP = LinuxX64.function("munmap", JAVA_INT, JAVA_LONG, JAVA_LONG);

    private GuardedMemory() {}

    /** {@code size} bytes with a forbidden page right behind them, or right before them. */
    static MemorySegment allocate(Arena arena, long size, boolean guardBehind) {
        long inside = Math.max(1, (size + PAGE - 1) / PAGE) * PAGE, all = inside + 2 * PAGE;
        try {
            long start = (long) MMAP.invokeExact(0L, all, 1 | 2, 0x22, -1, 0L);
            if ((int) MPROTECT.invokeExact(start, PAGE, 0) != 0
                    || (int) MPROTECT.invokeExact(start + PAGE + inside, PAGE, 0) != 0) {
                throw new IllegalStateException("mprotect failed");
            }
            long from = guardBehind ? start + PAGE + inside - size : start + PAGE;
            return MemorySegment.ofAddress(from).reinterpret(size, arena, s -> {
                try {
                    int done = (int) MUNMAP.invokeExact(start, all);
                } catch (Throwable e) {
                    throw new IllegalStateException(e);
                }
            });
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }
}
