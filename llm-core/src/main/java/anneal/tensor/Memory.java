package anneal.tensor;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Where tensors get their memory: native, 64-byte aligned, never the heap.
 *
 * <p>A training or decoding step opens a {@link Scope}: every tensor made on this thread until {@code close} lies in it and dies
 * with it. Scopes nest. What a scope gives back is Java values, never tensors. Memory of closed scopes is used again by the
 * next one, so steps of equal shape allocate nothing. Outside any scope a tensor lives as long as it is reachable.
 *
 * <p>With {@code -Danneal.memory.check=true} each scope is a real {@link Arena}: use after close throws.
 */
public final class Memory {
    private static final boolean CHECK = Boolean.getBoolean("anneal.memory.check");
    private static final long SLAB = 32L << 20;
    private static final long ALIGN = 64;
    private static final ThreadLocal<Scope> CURRENT = new ThreadLocal<>();

    private Memory() {}

    /** Opens a scope on this thread; close it with try-with-resources. */
    public static Scope scope() {
        Scope scope = new Scope(CURRENT.get());
        CURRENT.set(scope);
        return scope;
    }

    /** Memory for n floats of this thread's scope, with whatever was there before. */
    static MemorySegment floats(long n) {
        Scope scope = CURRENT.get();
        return scope != null ? scope.take(4 * n) : Arena.ofAuto().allocate(Math.max(4, 4 * n), ALIGN);
    }

    /** Gives memory of this thread's scope back before the scope closes; a segment of elsewhere is left alone. */
    static void release(MemorySegment segment) {
        Scope scope = CURRENT.get();
        if (scope != null) {
            scope.giveBack(segment);
        }
    }

    /** The memory of one step. */
    public static final class Scope implements AutoCloseable {
        private final Scope parent;
        private final Arena arena = CHECK ? Arena.ofShared() : null;
        private final List<MemorySegment> slabs = new ArrayList<>();
        private final Map<Long, ArrayDeque<MemorySegment>> free = new HashMap<>();
        private final Map<Long, MemorySegment> lent = new HashMap<>();
        private long used = 0;
        private long bytes = 0;

        private Scope(Scope parent) {
            this.parent = parent;
        }

        private MemorySegment take(long size) {
            long rounded = Math.max(ALIGN, (size + ALIGN - 1) / ALIGN * ALIGN);
            ArrayDeque<MemorySegment> again = free.get(rounded);
            MemorySegment whole;
            if (again != null && !again.isEmpty()) {
                whole = again.pop();
            } else if (CHECK) {
                whole = arena.allocate(rounded, ALIGN);
                bytes += rounded;
            } else {
                whole = bump(rounded);
            }
            lent.put(whole.address(), whole);
            return whole.asSlice(0, Math.max(4, size));
        }

        private MemorySegment bump(long size) {
            MemorySegment slab = slabs.isEmpty() ? null : slabs.getLast();
            if (slab == null || used + size > slab.byteSize()) {
                slab = Slabs.take(Math.max(size, SLAB));
                slabs.add(slab);
                bytes += slab.byteSize();
                used = 0;
            }
            MemorySegment part = slab.asSlice(used, size);
            used += size;
            return part;
        }

        private void giveBack(MemorySegment segment) {
            MemorySegment whole = lent.remove(segment.address());
            if (whole != null) {
                free.computeIfAbsent(whole.byteSize(), s -> new ArrayDeque<>()).push(whole);
            }
        }

        /** Bytes that this scope holds. */
        public long bytes() {
            return bytes;
        }

        @Override
        public void close() {
            if (CURRENT.get() != this) {
                throw new IllegalStateException(
                        "Memory: scopes must be closed in reverse order, on the thread that opened them");
            }
            CURRENT.set(parent);
            slabs.forEach(Slabs::giveBack);
            slabs.clear();
            if (CHECK) {
                arena.close();
            }
        }
    }

    /** Large blocks that outlive the scopes; one list for all threads. */
    private static final class Slabs {
        private static final ArrayDeque<MemorySegment> FREE = new ArrayDeque<>();

        static synchronized MemorySegment take(long size) {
            for (MemorySegment s : FREE) {
                if (s.byteSize() >= size && s.byteSize() <= Math.max(SLAB, 2 * size)) {
                    FREE.remove(s);
                    return s;
                }
            }
            // Freed when nothing refers to it any more: see drop().
            return Arena.ofAuto().allocate(size, ALIGN);
        }

        static synchronized void giveBack(MemorySegment slab) {
            FREE.push(slab);
        }

        static synchronized void drop() {
            FREE.clear();
        }
    }

    /** Lets go of the blocks that closed scopes left for reuse. */
    public static void trim() {
        Slabs.drop();
    }
}
