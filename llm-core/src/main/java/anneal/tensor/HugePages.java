package anneal.tensor;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * Native memory that the system is asked to back with pages of 2 MB instead of 4 KB.
 *
 * <p>A product reads and writes rows that are kilobytes apart, so with small pages nearly every row needs another address
 * translation, and those do not fit the processor's tables (figures are in docs/log.md). Fresh memory is mapped, not allocated,
 * because {@link Arena#allocate} writes zeros before anybody could ask for large pages.
 *
 * <p>Only on Linux, for pieces of 2 MB and more, and where native access is allowed; everything else comes from the arena. See
 * madvise(2), MADV_HUGEPAGE.
 */
final class HugePages {
    private static final long PAGE = 2L << 20;
    private static final int READ_WRITE = 1 | 2;
    private static final int PRIVATE_ANONYMOUS = 0x02 | 0x20;
    private static final int MADV_HUGEPAGE = 14;

    private static final boolean USED = System.getProperty("os.name").equals("Linux")
            && HugePages.class.getModule().isNativeAccessEnabled();
    private static final MethodHandle MMAP =
            function("mmap", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_LONG);
    private static final MethodHandle MADVISE = function("madvise", JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_INT);
    private static final MethodHandle MUNMAP = function("munmap", JAVA_INT, JAVA_LONG, JAVA_LONG);

    private HugePages() {}

    private static MethodHandle function(String name, MemoryLayout result, MemoryLayout... arguments) {
        if (!USED) {
            return null;
        }
        Linker linker = Linker.nativeLinker();
        return linker.downcallHandle(
                linker.defaultLookup().findOrThrow(name), FunctionDescriptor.of(result, arguments));
    }

    /** Memory of {@code size} bytes, all zero, that lives as long as {@code arena}. */
    static MemorySegment allocate(Arena arena, long size, long align) {
        if (!USED || size < PAGE) {
            return arena.allocate(size, align);
        }
        try {
            long room = Math.addExact(size, PAGE); // to begin at a page of 2 MB; what is never touched takes no memory
            long start = (long) MMAP.invokeExact(0L, room, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0L);
            if (start == -1) {
                return arena.allocate(size, align); // says what is missing
            }
            MemorySegment all = MemorySegment.ofAddress(start).reinterpret(room, arena, s -> unmap(s, room));
            long skip = -start & PAGE - 1;
            int advised =
                    (int) MADVISE.invokeExact(start + skip, size, MADV_HUGEPAGE); // refused: small pages, as before
            return all.asSlice(skip, size);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    private static void unmap(MemorySegment all, long room) {
        try {
            int unmapped = (int) MUNMAP.invokeExact(all.address(), room);
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }
}
