package anneal.kernels.emit;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicInteger;

/** Machine code in memory, as functions that Java calls; it goes with its arena. */
final class CodeBuffer {
    private static final AtomicInteger DUMPED = new AtomicInteger();

    private CodeBuffer() {}

    /** Bytes as code that can be called for as long as the arena lives; throws UnsupportedOperationException if it is forbidden. */
    static MemorySegment load(Arena arena, byte[] code) {
        dump(code);
        Platform platform = Platform.mine();
        return platform.executable(arena, platform.callable(code));
    }

    /** With {@code -Danneal.dump=FOLDER}, the bytes as a file called after the class that asked: for a disassembler. */
    private static void dump(byte[] code) {
        String folder = System.getProperty("anneal.dump", "");
        if (folder.isEmpty()) {
            return;
        }
        String name = StackWalker.getInstance()
                .walk(frames -> frames.map(f -> f.getClassName().replaceAll(".*[.]", ""))
                        .filter(c -> !c.equals("CodeBuffer"))
                        .findFirst()
                        .orElse("code"));
        try {
            Path to = Files.createDirectories(Path.of(folder));
            Files.write(to.resolve("%03d-%s.bin".formatted(DUMPED.getAndIncrement(), name)), code);
        } catch (IOException e) {
            throw new UncheckedIOException("-Danneal.dump=" + folder + ": " + e.getMessage(), e);
        }
    }

    /** Code as a function for short calls, of tens of microseconds: the JVM's safepoints wait for them. */
    static MethodHandle function(Arena arena, byte[] code, FunctionDescriptor signature) {
        return Linker.nativeLinker().downcallHandle(load(arena, code), signature, Linker.Option.critical(false));
    }

    /** Code as a function whose calls may be long. */
    static MethodHandle longFunction(Arena arena, byte[] code, FunctionDescriptor signature) {
        return Linker.nativeLinker().downcallHandle(load(arena, code), signature);
    }

    /** What a call of a function threw, as something that may be thrown undeclared. */
    static RuntimeException failure(Throwable e) {
        if (e instanceof Error error) {
            throw error;
        }
        return e instanceof RuntimeException r ? r : new IllegalStateException(e);
    }
}
