package anneal.kernels;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import anneal.kernels.emit.CpuFeatures;
import anneal.kernels.emit.Level;
import java.util.EnumMap;
import java.util.Map;

/** The emitted tier at each level that this machine has. */
final class Emitted {
    private static final Map<Level, Kernels> LEVELS = new EnumMap<>(Level.class);

    private Emitted() {}

    /** The tier, where AMX does thin products too; the test is skipped if the machine does not have the level. */
    static synchronized Kernels at(Level level) {
        String obstacle = CpuFeatures.obstacle(level);
        assumeTrue(obstacle == null, "no emitted code of this level: " + obstacle);
        return LEVELS.computeIfAbsent(
                level, l -> new EmittedKernels(new VectorKernels(), l, l.has(Level.AVX512_BF16), false));
    }
}
