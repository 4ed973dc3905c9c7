package anneal.kernels.emit;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
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
    private final int leaf1C;
    private final int leaf7B;
    private final int savedRegisters;

    private CpuFeatures(int leaf1C, int leaf7B, int savedRegisters) {
        this.leaf1C = leaf1C;
        this.leaf7B = leaf7B;
        this.savedRegisters = savedRegisters;
    }

    /** Why emitted code cannot run here, before anything is asked of the processor; null if nothing is in the way. */
    private static String platform() {
        String system = System.getProperty("os.name"), machine = System.getProperty("os.arch");
        if (!system.equals("Linux") || !machine.equals("amd64")) {
            return "there are no instructions for " + system + " on " + machine;
        }
        return CpuFeatures.class.getModule().isNativeAccessEnabled()
                ? null
                : "native access is off: start java with --enable-native-access=ALL-UNNAMED";
    }

    /** Why code for AVX2 cannot run here, in words for a log line; null if it can. */
    public static String obstacle() {
        String platform = platform();
        if (platform != null) {
            return platform;
        }
        try {
            List<String> missing = ask().missing();
            return missing.isEmpty() ? null : "the processor or the system lacks " + String.join(", ", missing);
        } catch (UnsupportedOperationException e) {
            return e.getMessage();
        }
    }

    private static CpuFeatures ask() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_INT, 3);
            Linker.nativeLinker()
                    .downcallHandle(CodeBuffer.load(arena, question()), FunctionDescriptor.ofVoid(ADDRESS))
                    .invokeExact(out);
            return new CpuFeatures(
                    out.getAtIndex(JAVA_INT, 0), out.getAtIndex(JAVA_INT, 1), out.getAtIndex(JAVA_INT, 2));
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    /** The function (int out[3]): ECX of leaf 1, EBX of leaf 7, and XCR0 if the system lets one ask for it. */
    private static byte[] question() {
        Assembler a = new Assembler();
        Label end = new Label();
        a.push(Gp.RBX); // CPUID writes it, and the caller wants it back
        a.mov(Gp.RAX, 1);
        a.mov(Gp.RCX, 0);
        a.cpuid();
        a.mov32(Mem.at(Gp.RDI), Gp.RCX);
        a.mov(Gp.RSI, Gp.RCX);
        a.mov(Gp.RAX, 7);
        a.mov(Gp.RCX, 0);
        a.cpuid();
        a.mov32(Mem.at(Gp.RDI, 4), Gp.RBX);
        a.and(Gp.RSI, 1 << OSXSAVE);
        a.jz(end);
        a.mov(Gp.RCX, 0);
        a.xgetbv();
        a.mov32(Mem.at(Gp.RDI, 8), Gp.RAX);
        a.bind(end);
        a.pop(Gp.RBX);
        a.ret();
        return a.bytes();
    }

    private static final int FMA = 12, OSXSAVE = 27, AVX = 28, F16C = 29;
    private static final int AVX2 = 5;
    private static final int SAVED_256 = 0b110;

    private List<String> missing() {
        List<String> all = new ArrayList<>();
        check(all, "AVX", leaf1C >> AVX & 1);
        check(all, "FMA", leaf1C >> FMA & 1);
        check(all, "F16C", leaf1C >> F16C & 1);
        check(all, "AVX2", leaf7B >> AVX2 & 1);
        check(all, "256-bit registers", (savedRegisters & SAVED_256) == SAVED_256 ? 1 : 0);
        return all;
    }

    private static void check(List<String> missing, String name, int there) {
        if (there == 0) {
            missing.add(name);
        }
    }
}
