package anneal.kernels;

import anneal.kernels.emit.CpuFeatures;
import anneal.kernels.emit.Level;
import com.sun.management.HotSpotDiagnosticMXBean;
import java.lang.management.ManagementFactory;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Chooses the tier once: the one that {@code -Danneal.kernels} names, or the first that this machine can have of emitted, vector,
 * blas, scalar. {@code -Danneal.cpu=avx2|avx512|avx512_bf16|amx} keeps emitted code to a level of the processor. A tier that was
 * named and cannot be had is an error; a tier that is passed over costs one warning with its remedy.
 */
final class KernelLookup {
    private static final String PROPERTY = "anneal.kernels";

    private KernelLookup() {}

    /** Loaded at the first question; a failure is kept so that every caller gets its sentence. */
    private static final class Holder {
        static final Kernels TIER;
        /** The tier in the precisions that were asked for: making one emits its code. */
        static final Map<Compute, Kernels> CHOSEN = new ConcurrentHashMap<>();

        static final RuntimeException FAILURE;

        static {
            Kernels tier = null;
            RuntimeException failure = null;
            try {
                tier = choose(System.getProperty(PROPERTY, ""));
            } catch (RuntimeException e) {
                failure = e;
            }
            TIER = tier;
            FAILURE = failure;
        }
    }

    static Kernels chosen(Compute compute) {
        if (Holder.FAILURE != null) {
            throw Holder.FAILURE;
        }
        return Holder.CHOSEN.computeIfAbsent(compute, Holder.TIER::in);
    }

    /** The tier called {@code wanted}; the best one there is if that is empty. */
    static Kernels choose(String wanted) {
        Logger log = LoggerFactory.getLogger(Kernels.class);
        Kernels kernels = switch (wanted) {
            case "" -> best(log);
            case "emitted" -> named(wanted, emittedObstacle(), KernelLookup::emitted);
            case "vector" -> named(wanted, vectorObstacle(), VectorKernels::new);
            case "blas" -> named(wanted, BlasKernels.obstacle(), () -> blas(besideBlas()));
            case "scalar" -> new ScalarKernels();
            default ->
                throw new IllegalArgumentException(
                        "-D" + PROPERTY + "=" + wanted + ": the tiers are emitted, vector, blas and scalar");
        };
        String cpu = System.getProperty("anneal.cpu", "");
        if (!cpu.isEmpty() && !(kernels instanceof EmittedKernels)) {
            throw new IllegalArgumentException("-Danneal.cpu=" + cpu + " is for the emitted tier, and this is "
                    + kernels.name() + ": leave one of the two out");
        }
        String reason = wanted.isEmpty() ? "the best this machine has" : "-D" + PROPERTY + " names it";
        String code = kernels instanceof EmittedKernels e ? " (" + e.level().text() + ")" : "";
        log.info("Kernels: {} tier{}, {}", kernels.name(), code, reason);
        return kernels;
    }

    private static Kernels emitted() {
        String cpu = System.getProperty("anneal.cpu", "");
        Level level = EmittedKernels.level(cpu);
        Kernels rest = new VectorKernels();
        boolean asBest = cpu.isEmpty() && !CpuFeatures.pairsPay();
        return asBest ? new EmittedKernels(rest, level, false) : new EmittedKernels(rest, level);
    }

    private static Kernels named(String wanted, String obstacle, java.util.function.Supplier<Kernels> tier) {
        if (obstacle != null) {
            throw new IllegalArgumentException("-D" + PROPERTY + "=" + wanted + " cannot be had: " + obstacle);
        }
        return tier.get();
    }

    private static Kernels best(Logger log) {
        String vector = vectorObstacle();
        if (vector == null) {
            String emitted = emittedObstacle();
            if (emitted == null) {
                return emitted();
            }
            log.info("Kernels: no emitted machine code: {}", emitted);
            return new VectorKernels();
        }
        Kernels kernels = new ScalarKernels();
        String blas = BlasKernels.obstacle();
        if (blas == null) {
            try {
                kernels = blas(kernels);
            } catch (IllegalArgumentException e) {
                blas = e.getMessage();
            }
        }
        log.warn(
                "Kernels: no vector tier, using {} instead; {}",
                blas == null ? "blas" : "scalar (very slow)",
                vector + (blas == null ? "" : "; " + blas));
        return kernels;
    }

    /** ND4J loads its native library at its first use, and fails with errors of its own if that is not there. */
    private static Kernels blas(Kernels rest) {
        try {
            return new BlasKernels(rest);
        } catch (IllegalStateException e) {
            throw new IllegalArgumentException(e.getMessage(), e); // it multiplies wrongly
        } catch (LinkageError | RuntimeException e) {
            LoggerFactory.getLogger(Kernels.class).debug("ND4J does not start", e);
            throw new IllegalArgumentException(
                    "ND4J is there but does not start: add org.nd4j:nd4j-native with the classifier of your platform",
                    e);
        }
    }

    /** Emitted code stands on the vector tier. */
    private static String emittedObstacle() {
        String vector = vectorObstacle();
        return vector != null ? vector : EmittedKernels.obstacle();
    }

    private static Kernels besideBlas() {
        return vectorObstacle() == null ? new VectorKernels() : new ScalarKernels();
    }

    /** Why this JVM cannot run the vector tier fast, with the remedy; null if it can. */
    private static String vectorObstacle() {
        if (ModuleLayer.boot().findModule("jdk.incubator.vector").isEmpty()) {
            return "the module jdk.incubator.vector is not there: start java with --add-modules jdk.incubator.vector";
        }
        String info = System.getProperty("java.vm.info", "");
        if (info.contains("interpreted")) {
            return "the JVM only interprets: start java without -Xint";
        }
        if (info.contains("emulated-client") || !"4".equals(option("TieredStopAtLevel", "4"))) {
            return "the optimising compiler C2 is off: start java without -XX:TieredStopAtLevel and -XX:CompilationMode";
        }
        String fma = option("UseFMA", null);
        if (fma == null) {
            return "the JVM " + System.getProperty("java.vm.name") + " is not HotSpot with C2: use an OpenJDK build";
        }
        if (!Boolean.parseBoolean(fma)) {
            return "the CPU has no fused multiply-add, or -XX:-UseFMA hides it";
        }
        int bits = VectorKernels.bits();
        return bits >= 128 ? null : "vectors have only " + bits + " bits on this machine, or -XX:MaxVectorSize says so";
    }

    /** A HotSpot option, or {@code otherwise} where the JVM does not have it. */
    private static String option(String name, String otherwise) {
        try {
            return ManagementFactory.getPlatformMXBean(HotSpotDiagnosticMXBean.class)
                    .getVMOption(name)
                    .getValue();
        } catch (LinkageError | RuntimeException e) {
            LoggerFactory.getLogger(Kernels.class).debug("no VM option {}", name, e);
            return otherwise;
        }
    }
}
