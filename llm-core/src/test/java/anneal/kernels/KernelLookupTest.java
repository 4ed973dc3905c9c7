package anneal.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import anneal.kernels.emit.CpuFeatures;
import anneal.kernels.emit.Level;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/** Which tier a JVM gets and what it is told: each case starts one. */
class KernelLookupTest {
    private static final String MODULE = "--add-modules=jdk.incubator.vector";

    /** Prints the tier, or the error; the warning comes from the logger. */
    static final class Probe {
        public static void main(String[] args) {
            try {
                System.out.println("tier=" + Kernels.get().name());
            } catch (RuntimeException e) {
                System.out.println("error=" + e.getMessage());
            }
        }
    }

    @Test
    void theBestTierThatTheMachineHas() throws Exception {
        String best = EmittedKernels.obstacle() == null ? "tier=emitted" : "tier=vector";
        assertThat(start(true, MODULE)).contains(best).doesNotContain("WARN anneal");
    }

    @Test
    void emittedCodeNeedsNativeAccess() throws Exception {
        assertThat(start(entry -> true, false, MODULE, "--illegal-native-access=deny"))
                .contains("tier=vector")
                .contains("Kernels: no emitted machine code: native access is off: start java with"
                        + " --enable-native-access=ALL-UNNAMED");
        assertThat(start(entry -> true, false, MODULE, "-Danneal.kernels=emitted", "--illegal-native-access=deny"))
                .contains("error=-Danneal.kernels=emitted cannot be had: ");
    }

    @Test
    void emittedCodeCanBeKeptToALevelOfTheProcessor() throws Exception {
        assumeTrue(EmittedKernels.obstacle() == null, "no emitted code here");
        assertThat(start(true, MODULE, "-Danneal.cpu=avx2")).contains("tier=emitted");
        assertThat(start(true, MODULE, "-Danneal.cpu=mmx"))
                .contains("error=-Danneal.cpu=mmx: the levels are avx2, avx512, avx512_bf16, amx");
        assertThat(start(true, MODULE, "-Danneal.cpu=avx2", "-Danneal.kernels=vector"))
                .contains(
                        "error=-Danneal.cpu=avx2 is for the emitted tier, and this is vector: leave one of the two out");
        if (CpuFeatures.obstacle(Level.AVX512_BF16) != null) {
            assertThat(start(true, MODULE, "-Danneal.cpu=avx512_bf16"))
                    .contains(
                            "error=-Danneal.cpu=avx512_bf16 cannot be had: the processor or the system lacks AVX-512 ");
        }
        if (CpuFeatures.obstacle(Level.AMX) != null) {
            assertThat(start(true, MODULE, "-Danneal.cpu=amx"))
                    .contains("error=-Danneal.cpu=amx cannot be had: the processor or the system lacks ");
        }
    }

    @Test
    void withoutTheModule() throws Exception {
        assertThat(start(true))
                .contains("tier=blas")
                .containsOnlyOnce("WARN anneal")
                .contains(
                        "Kernels: no vector tier, using blas instead; the module jdk.incubator.vector is not there: start"
                                + " java with --add-modules jdk.incubator.vector");
    }

    @Test
    void withoutTheModuleAndWithoutNd4j() throws Exception {
        assertThat(start(false))
                .contains("tier=scalar")
                .containsOnlyOnce("WARN anneal")
                .contains("using scalar (very slow) instead; the module jdk.incubator.vector is not there");
    }

    @Test
    void withNd4jButWithoutItsNativeLibrary() throws Exception {
        String cannot =
                "ND4J is there but does not start: add org.nd4j:nd4j-native with the classifier of your platform";
        Predicate<String> noNatives = entry -> !entry.matches(".*(linux|macosx|windows)-[a-z0-9_]+\\.jar");
        assertThat(start(noNatives))
                .contains("tier=scalar")
                .containsOnlyOnce("WARN anneal")
                .contains("using scalar (very slow) instead; the module jdk.incubator.vector is not there")
                .contains(cannot);
        assertThat(start(noNatives, MODULE, "-Danneal.kernels=blas")).contains("error=" + cannot);
    }

    @Test
    void interpretedOnly() throws Exception {
        assertThat(start(false, MODULE, "-Xint"))
                .contains("tier=scalar")
                .contains("the JVM only interprets: start java without -Xint");
    }

    @Test
    void withoutTheOptimisingCompiler() throws Exception {
        for (String option : List.of("-XX:TieredStopAtLevel=1", "-XX:CompilationMode=quick-only")) {
            assertThat(start(false, MODULE, option))
                    .contains("tier=scalar")
                    .contains("the optimising compiler C2 is off: start java without -XX:TieredStopAtLevel and"
                            + " -XX:CompilationMode");
        }
    }

    @Test
    void withoutFusedMultiplyAddOrWideVectors() throws Exception {
        assertThat(start(false, MODULE, "-XX:-UseFMA")).contains("tier=scalar").contains("no fused multiply-add");
        assertThat(start(false, MODULE, "-XX:MaxVectorSize=8"))
                .contains("tier=scalar")
                .contains("vectors have only 64 bits on this machine");
    }

    @Test
    void forcedTiers() throws Exception {
        assertThat(start(true, MODULE, "-Danneal.kernels=scalar"))
                .contains("tier=scalar")
                .doesNotContain("WARN anneal");
        assertThat(start(true, MODULE, "-Danneal.kernels=blas")).contains("tier=blas");
        assertThat(start(true, MODULE, "-Danneal.kernels=vector")).contains("tier=vector");
        assertThat(start(true, "-Danneal.kernels=emitted"))
                .contains("error=-Danneal.kernels=emitted cannot be had: the module jdk.incubator.vector is not there");
        assertThat(start(true, "-Danneal.kernels=vector"))
                .contains("error=-Danneal.kernels=vector cannot be had: the module jdk.incubator.vector is not there");
        assertThat(start(false, MODULE, "-Danneal.kernels=blas"))
                .contains("error=-Danneal.kernels=blas cannot be had: ND4J is not on the class path: add the artifact"
                        + " org.nd4j:nd4j-api");
        assertThat(start(true, MODULE, "-Danneal.kernels=gpu"))
                .contains("error=-Danneal.kernels=gpu: the tiers are emitted, vector, blas and scalar");
    }

    private static String start(boolean nd4j, String... options) throws IOException, InterruptedException {
        return start(entry -> nd4j || !entry.contains("nd4j"), options);
    }

    /** Starts a JVM with these entries of the class path. */
    private static String start(Predicate<String> entries, String... options) throws IOException, InterruptedException {
        return start(entries, true, options);
    }

    private static String start(Predicate<String> entries, boolean nativeAccess, String... options)
            throws IOException, InterruptedException {
        String path = Arrays.stream(System.getProperty("java.class.path").split(System.getProperty("path.separator")))
                .filter(entries)
                .collect(Collectors.joining(System.getProperty("path.separator")));
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(nativeAccess ? List.of("--enable-native-access=ALL-UNNAMED") : List.of());
        command.addAll(List.of(options));
        command.addAll(List.of("-cp", path, Probe.class.getName()));
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
        return out;
    }
}
