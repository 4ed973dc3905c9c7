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
 * <p>With {@code -Danneal.memory.check=true} each scope is a real {@link Arena}: use after close throws, and memory that was not
 * written yet, or was given back, reads as NaN.
 *
 * <p>Except for {@link HugePages}, the JVM counts this memory against {@code -XX:MaxDirectMemorySize}, which is as large as the
 * heap's {@code -Xmx} unless set.
 */
public final class Memory {
    private static final boolean CHECK = Boolean.getBoolean("anneal.memory.check");
    private static final long SLAB = 32L << 20;
    /** A slab with less room than this is full: not looked at again for the next tensor. */
    private static final long CRUMB = SLAB / 32;

    private static final long ALIGN = 64;
    private static final byte UNWRITTEN = (byte) 0xFF;
    private static final ThreadLocal<Scope> CURRENT = new ThreadLocal<>();

    private Memory() {}

    /** Opens a scope on this thread; close it with try-with-resources. */
    public static Scope scope() {
        return scope(CHECK);
    }

    static Scope scope(boolean check) {
        Scope scope = new Scope(CURRENT.get(), check);
        CURRENT.set(scope);
        return scope;
    }

    /** The innermost open scope of this thread, or null. */
    static Scope current() {
        return CURRENT.get();
    }

    /** Memory for n floats with whatever was there before, of this scope; with null, memory that lives while it is reachable. */
    static MemorySegment floats(Scope owner, long n) {
        long size = Math.max(4, Math.multiplyExact(4, n));
        return owner != null ? owner.take(size) : HugePages.allocate(Arena.ofAuto(), size, ALIGN);
    }

    /** The memory of one step. */
    public static final class Scope implements AutoCloseable {
        private final Scope parent;
        private final int recorded = Tape.size();
        private final Arena arena;
        private final List<Slab> slabs = new ArrayList<>();
        private final List<Slab> roomy = new ArrayList<>();
        private final Map<Long, ArrayDeque<MemorySegment>> free = new HashMap<>();
        private long bytes = 0;
        private boolean open = true;

        private Scope(Scope parent, boolean check) {
            this.parent = parent;
            this.arena = check ? Arena.ofShared() : null;
        }

        private MemorySegment take(long size) {
            if (!open) {
                throw new IllegalStateException("Memory: this tensor's scope is closed");
            }
            ArrayDeque<MemorySegment> again = free.get(size);
            MemorySegment part = again != null ? again.poll() : null;
            if (part == null) {
                long rounded = (size + ALIGN - 1) / ALIGN * ALIGN;
                part = (arena != null ? real(rounded) : cut(rounded)).asSlice(0, size);
            }
            if (arena != null) {
                part.fill(UNWRITTEN);
            }
            return part;
        }

        private MemorySegment real(long size) {
            bytes += size;
            return arena.allocate(size, ALIGN);
        }

        /** The next piece of the first slab that has room. */
        private MemorySegment cut(long size) {
            Slab slab = null;
            for (int i = 0; i < roomy.size() && slab == null; i++) {
                slab = roomy.get(i).room() >= size ? roomy.get(i) : null;
            }
            if (slab == null) {
                slab = Slabs.take(size);
                slabs.add(slab);
                roomy.add(slab);
                bytes += slab.size();
            }
            MemorySegment part = slab.memory.asSlice(slab.used, size);
            slab.used += size;
            if (slab.room() < CRUMB) {
                roomy.remove(slab);
            }
            return part;
        }

        /** Takes back a segment that {@link #take} gave out and that nobody reads any more, for the next of equal size. */
        void giveBack(MemorySegment part) {
            if (!open) {
                return;
            }
            if (arena != null) {
                part.fill(UNWRITTEN);
            }
            free.computeIfAbsent(part.byteSize(), s -> new ArrayDeque<>()).push(part);
        }

        /** Bytes that this scope holds. */
        public long bytes() {
            return bytes;
        }

        /** True until it is closed: what lies in it may be used. */
        boolean isOpen() {
            return open;
        }

        @Override
        public void close() {
            if (CURRENT.get() != this) {
                throw new IllegalStateException(
                        "Memory: scopes must be closed once, in reverse order, on the thread that opened them");
            }
            CURRENT.set(parent);
            open = false;
            if (parent == null) {
                Tape.forget(recorded);
            }
            slabs.forEach(Slabs::giveBack);
            slabs.clear();
            roomy.clear();
            free.clear();
            if (arena != null) {
                arena.close();
            }
        }
    }

    /** Lets go of the blocks that closed scopes left for reuse. */
    public static void trim() {
        Slabs.drop();
    }

    /** Bytes that closed scopes left for reuse. */
    public static long kept() {
        return Slabs.kept();
    }

    private static final class Slab {
        final Arena arena = Arena.ofShared();
        final MemorySegment memory;
        long used = 0;

        Slab(long size) {
            MemorySegment mapped = HugePages.allocate(arena, size, ALIGN);
            // Without the arena's liveness, or each call of emitted code would count itself in and out of it, in one
            // word that
            // all threads write; Tensor.buf looks whether its scope is open instead.
            memory = MemorySegment.ofAddress(mapped.address()).reinterpret(size);
        }

        long size() {
            return memory.byteSize();
        }

        long room() {
            return memory.byteSize() - used;
        }
    }

    /**
     * Large blocks that outlive the scopes; one list for all threads. What lies unused and what is in use are together never more
     * than what was once in use at the same time: beyond that, what was left unused longest is freed.
     */
    private static final class Slabs {
        private static final ArrayDeque<Slab> FREE = new ArrayDeque<>();
        private static long inUse = 0;
        private static long unused = 0;
        private static long peak = 0;

        private Slabs() {}

        static synchronized Slab take(long size) {
            Slab slab = smallestThatFits(size);
            if (slab != null) {
                FREE.remove(slab);
                unused -= slab.size();
            } else {
                long rounded = rounded(size);
                shrink(Math.max(0, peak - inUse - rounded));
                slab = new Slab(rounded);
            }
            inUse += slab.size();
            peak = Math.max(peak, inUse);
            return slab;
        }

        private static Slab smallestThatFits(long size) {
            Slab best = null;
            for (Slab slab : FREE) {
                if (slab.size() >= size && (best == null || slab.size() < best.size())) {
                    best = slab;
                }
            }
            return best;
        }

        /** Few different sizes, so that steps of nearly equal shape use the same blocks; the rest of a block serves small tensors. */
        private static long rounded(long size) {
            long unit = Math.max(SLAB, Long.highestOneBit(size) / 4);
            return (size + unit - 1) / unit * unit;
        }

        static synchronized void giveBack(Slab slab) {
            slab.used = 0;
            inUse -= slab.size();
            unused += slab.size();
            FREE.push(slab);
        }

        /** Frees the blocks unused longest until no more than {@code limit} bytes lie unused. */
        private static void shrink(long limit) {
            while (unused > limit) {
                Slab oldest = FREE.removeLast();
                unused -= oldest.size();
                oldest.arena.close();
            }
        }

        static synchronized long kept() {
            return unused;
        }

        static synchronized void drop() {
            shrink(0);
            peak = inUse;
        }
    }
}
