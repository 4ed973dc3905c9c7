package anneal.kernels.emit;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/**
 * What the processor can do and the operating system lets it: asked by emitted CPUID and XGETBV instructions, as the compilers'
 * run-time libraries do, not read from text files.
 *
 * <p>Bits are those of Intel's manual, volume 2, CPUID, leaves 1 and 7, and volume 1, 13.3 for XCR0.
 */
public final class CpuFeatures {
    /** What the processor answers. Bits of XCR0 say which registers the system saves for each thread. */
    private final int leaf1C, leaf7B, leaf7C, leaf7A1, saved, leaf0B, leaf7D;

    private CpuFeatures(MemorySegment answers) {
        leaf1C = answers.getAtIndex(JAVA_INT, 0);
        leaf7B = answers.getAtIndex(JAVA_INT, 1);
        leaf7C = answers.getAtIndex(JAVA_INT, 2);
        leaf7A1 = answers.getAtIndex(JAVA_INT, 3);
        saved = answers.getAtIndex(JAVA_INT, 4);
        leaf0B = answers.getAtIndex(JAVA_INT, 5);
        leaf7D = answers.getAtIndex(JAVA_INT, 6);
    }

    /** Asked once. */
    private static final class Holder {
        static final CpuFeatures MINE;
        static final String OBSTACLE;

        static {
            CpuFeatures mine = null;
            String obstacle = platform();
            try {
                mine = obstacle == null ? ask() : null;
            } catch (UnsupportedOperationException e) {
                obstacle = e.getMessage();
            }
            MINE = mine;
            OBSTACLE = obstacle == null ? lack(mine.missing(Level.AVX2)) : obstacle;
        }
    }

    /** Why emitted code cannot run here, before anything is asked of the processor; null if nothing is in the way. */
    private static String platform() {
        if (Platform.mine() == null) {
            return "there are no instructions for " + System.getProperty("os.name") + " on "
                    + System.getProperty("os.arch");
        }
        return CpuFeatures.class.getModule().isNativeAccessEnabled()
                ? null
                : "native access is off: start java with --enable-native-access=ALL-UNNAMED";
    }

    private static String lack(List<String> missing) {
        return missing.isEmpty() ? null : "the processor or the system lacks " + String.join(", ", missing);
    }

    /** Why no emitted code can run here, in words for a log line; null if the lowest level can. */
    public static String obstacle() {
        return Holder.OBSTACLE;
    }

    /** Why code of a level cannot run here; null if it can. */
    public static String obstacle(Level level) {
        return obstacle() != null ? obstacle() : lack(Holder.MINE.missing(level));
    }

    /** The highest level that this machine has; there must be no {@link #obstacle()}. */
    public static Level best() {
        Level best = Level.AVX2;
        for (Level level : Level.values()) {
            best = obstacle(level) == null ? level : best;
        }
        return best;
    }

    /**
     * False where products of pairs of bf16, though there is an instruction for them, take about twice the time of products of floats:
     * on Intel's cores (measured on Emerald Rapids, docs/benchmarks.md; theirs are fast in AMX only). AMD's are twice as fast as floats. The
     * maker decides and no measurement, so that one machine always computes the same bits.
     */
    public static boolean pairsPay() {
        return Holder.MINE.leaf0B != INTEL;
    }

    private static CpuFeatures ask() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_INT, 7);
            CodeBuffer.longFunction(arena, question(), FunctionDescriptor.ofVoid(ADDRESS))
                    .invokeExact(out);
            return new CpuFeatures(out);
        } catch (Throwable e) {
            throw CodeBuffer.failure(e);
        }
    }

    /**
     * The function (int out[7]): ECX of leaf 1, EBX and ECX of leaf 7, EAX of leaf 7.1, XCR0 if the system lets one ask for it, EBX of
     * leaf 0, where the maker's name begins, and EDX of leaf 7. A subleaf that the processor does not have answers 0.
     */
    private static byte[] question() {
        Assembler a = new Assembler();
        Label end = new Label();
        a.push(Gp.RBX); // CPUID writes it, and the caller wants it back
        leaf(a, 0, 0);
        a.mov32(Mem.at(Gp.RDI, 20), Gp.RBX);
        leaf(a, 1, 0);
        a.mov32(Mem.at(Gp.RDI), Gp.RCX);
        a.mov(Gp.RSI, Gp.RCX);
        leaf(a, 7, 0);
        a.mov32(Mem.at(Gp.RDI, 4), Gp.RBX);
        a.mov32(Mem.at(Gp.RDI, 8), Gp.RCX);
        a.mov32(Mem.at(Gp.RDI, 24), Gp.RDX);
        leaf(a, 7, 1);
        a.mov32(Mem.at(Gp.RDI, 12), Gp.RAX);
        a.and(Gp.RSI, 1 << OSXSAVE);
        a.jz(end);
        a.mov(Gp.RCX, 0);
        a.xgetbv();
        a.mov32(Mem.at(Gp.RDI, 16), Gp.RAX);
        a.bind(end);
        a.pop(Gp.RBX);
        a.ret();
        return a.bytes();
    }

    private static void leaf(Assembler a, int leaf, int subleaf) {
        a.mov(Gp.RAX, leaf);
        a.mov(Gp.RCX, subleaf);
        a.cpuid();
    }

    private static final int FMA = 12, OSXSAVE = 27, AVX = 28, F16C = 29;
    private static final int AVX2 = 5, AVX512F = 16, AVX512DQ = 17, AVX512BW = 30, AVX512VL = 31;
    private static final int VNNI = 11;
    private static final int BF16 = 5;
    private static final int AMX_BF16 = 22, AMX_TILE = 24, AMX_INT8 = 25;
    /** "Genu" of GenuineIntel. */
    private static final int INTEL = 0x756E6547;

    private static final int SAVED_256 = 0b110, SAVED_512 = 0b1110_0110, SAVED_TILES = 0b11 << 17;

    private List<String> missing(Level level) {
        List<String> all = new ArrayList<>();
        check(all, "AVX", leaf1C >> AVX & 1);
        check(all, "FMA", leaf1C >> FMA & 1);
        check(all, "F16C", leaf1C >> F16C & 1);
        check(all, "AVX2", leaf7B >> AVX2 & 1);
        check(all, "256-bit registers", (saved & SAVED_256) == SAVED_256 ? 1 : 0);
        if (level.has(Level.AVX512)) {
            check(all, "AVX-512 F", leaf7B >> AVX512F & 1);
            check(all, "AVX-512 DQ", leaf7B >> AVX512DQ & 1);
            check(all, "AVX-512 BW", leaf7B >> AVX512BW & 1);
            check(all, "AVX-512 VL", leaf7B >> AVX512VL & 1);
            check(all, "512-bit registers", (saved & SAVED_512) == SAVED_512 ? 1 : 0);
        }
        if (level.has(Level.AVX512_BF16)) {
            check(all, "AVX-512 VNNI", leaf7C >> VNNI & 1);
            check(all, "AVX-512 BF16", leaf7A1 >> BF16 & 1);
        }
        if (level.has(Level.AMX)) {
            check(all, "AMX", leaf7D >> AMX_TILE & 1);
            check(all, "AMX BF16", leaf7D >> AMX_BF16 & 1);
            check(all, "AMX INT8", leaf7D >> AMX_INT8 & 1);
            check(all, "tile registers", (saved & SAVED_TILES) == SAVED_TILES && tilesAllowed() ? 1 : 0);
        }
        return all;
    }

    /** Asked once, and only where the processor has them. */
    private static boolean tilesAllowed() {
        return Tiles.ALLOWED;
    }

    private static final class Tiles {
        static final boolean ALLOWED = Platform.mine().allowTiles();
    }

    private static void check(List<String> missing, String name, int there) {
        if (there == 0) {
            missing.add(name);
        }
    }
}
