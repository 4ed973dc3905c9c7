package anneal.kernels.emit;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * Machine code in memory: mapped writable, written, then made executable and read-only, never both; unmapped with its arena.
 *
 * <p>See mmap(2) and mprotect(2).
 */
final class CodeBuffer {
    private static final int READ = 1, WRITE = 2, EXECUTE = 4;
    private static final int PRIVATE_ANONYMOUS = 0x02 | 0x20;
    private static final long PAGE = 4096;

    private static final MethodHandle MMAP =
            function("mmap", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_LONG);
    private static final MethodHandle MPROTECT = function("mprotect", JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_INT);
    private static final MethodHandle MUNMAP = function("munmap", JAVA_INT, JAVA_LONG, JAVA_LONG);

    private CodeBuffer() {}

    /** Bytes as code that can be called for as long as the arena lives; throws UnsupportedOperationException if it is forbidden. */
    static MemorySegment load(Arena arena, byte[] code) {
        long size = (code.length + PAGE - 1) / PAGE * PAGE;
        try {
            long start = (long) MMAP.invokeExact(0L, size, READ | WRITE, PRIVATE_ANONYMOUS, -1, 0L);
            if (start == -1) {
                throw new UnsupportedOperationException("the system gives no memory for code");
            }
            MemorySegment all = MemorySegment.ofAddress(start).reinterpret(size, arena, s -> unmap(start, size));
            MemorySegment.copy(MemorySegment.ofArray(code), 0, all, 0, code.length);
            if ((int) MPROTECT.invokeExact(start, size, READ | EXECUTE) != 0) {
                throw new UnsupportedOperationException("the system forbids executable memory");
            }
            return all.asSlice(0, code.length);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    /** Code as a function that can be called for as long as the arena lives. Calls must be short: the JVM's safepoints wait for them. */
    static MethodHandle function(Arena arena, byte[] code, FunctionDescriptor signature) {
        return Linker.nativeLinker().downcallHandle(load(arena, code), signature, Linker.Option.critical(false));
    }

    /** What a call of a function threw, as something that may be thrown undeclared. */
    static RuntimeException failure(Throwable e) {
        if (e instanceof Error error) {
            throw error;
        }
        return e instanceof RuntimeException r ? r : new IllegalStateException(e);
    }

    private static void unmap(long start, long size) {
        try {
            int done = (int) MUNMAP.invokeExact(start, size);
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    /** A function of the C library. */
    static MethodHandle function(String name, MemoryLayout result, MemoryLayout... arguments) {
        Linker linker = Linker.nativeLinker();
        return linker.downcallHandle(
                linker.defaultLookup().findOrThrow(name), FunctionDescriptor.of(result, arguments));
    }
}
