package anneal.kernels.emit;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/** Linux on x86-64: System V's convention, mmap(2), mprotect(2) and arch_prctl(2). */
final class LinuxX64 implements Platform {
    static final LinuxX64 INSTANCE = new LinuxX64();

    private static final int READ = 1, WRITE = 2, EXECUTE = 4;
    private static final int PRIVATE_ANONYMOUS = 0x02 | 0x20;
    private static final long PAGE = 4096;

    private LinuxX64() {}

    static boolean here() {
        return System.getProperty("os.name").equals("Linux")
                && System.getProperty("os.arch").equals("amd64");
    }

    /** arch_prctl(2) of Linux 5.16 and newer: ARCH_REQ_XCOMP_PERM for the tiles' data, feature 18. */
    @Override
    public boolean allowTiles() {
        int archPrctl = 158, request = 0x1023, tileData = 18;
        try {
            return (long) C.SYSCALL.invokeExact((long) archPrctl, (long) request, (long) tileData) == 0;
        } catch (Throwable e) {
            throw CodeBuffer.failure(e);
        }
    }

    @Override
    public byte[] callable(byte[] kernel) {
        return kernel;
    }

    /** Functions of the C library, looked up when the first code is loaded. */
    private static final class C {
        static final MethodHandle MMAP =
                function("mmap", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_LONG);
        static final MethodHandle MPROTECT = function("mprotect", JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_INT);
        static final MethodHandle MUNMAP = function("munmap", JAVA_INT, JAVA_LONG, JAVA_LONG);
        static final MethodHandle SYSCALL = Linker.nativeLinker()
                .downcallHandle(
                        Linker.nativeLinker().defaultLookup().findOrThrow("syscall"),
                        FunctionDescriptor.of(JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG),
                        Linker.Option.firstVariadicArg(1));
    }

    /** Mapped writable, written, then made executable and read-only: never both. */
    @Override
    public MemorySegment executable(Arena arena, byte[] code) {
        long size = (code.length + PAGE - 1) / PAGE * PAGE;
        try {
            long start = (long) C.MMAP.invokeExact(0L, size, READ | WRITE, PRIVATE_ANONYMOUS, -1, 0L);
            if (start == -1) {
                throw new UnsupportedOperationException("the system gives no memory for code");
            }
            MemorySegment all = MemorySegment.ofAddress(start).reinterpret(size, arena, s -> unmap(start, size));
            MemorySegment.copy(MemorySegment.ofArray(code), 0, all, 0, code.length);
            if ((int) C.MPROTECT.invokeExact(start, size, READ | EXECUTE) != 0) {
                throw new UnsupportedOperationException("the system forbids executable memory");
            }
            return all.asSlice(0, code.length);
        } catch (Throwable e) {
            throw CodeBuffer.failure(e);
        }
    }

    private static void unmap(long start, long size) {
        try {
            int done = (int) C.MUNMAP.invokeExact(start, size);
        } catch (Throwable e) {
            throw CodeBuffer.failure(e);
        }
    }

    /** A function of the C library. */
    static MethodHandle function(String name, MemoryLayout result, MemoryLayout... arguments) {
        Linker linker = Linker.nativeLinker();
        return linker.downcallHandle(
                linker.defaultLookup().findOrThrow(name), FunctionDescriptor.of(result, arguments));
    }
}
