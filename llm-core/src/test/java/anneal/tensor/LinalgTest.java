package anneal.tensor;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Factors against their product, against numbers of NumPy 2 (numpy.linalg, float64), and against what each is said to be. */
class LinalgTest {
    /** a[i][j] = (3 i + 7 j) mod 11 - 4: the matrix that NumPy was given too. */
    private static Tensor example(int m, int n) {
        float[] a = new float[m * n];
        for (int i = 0; i < a.length; i++) {
            a[i] = (3 * (i / n) + 7 * (i % n)) % 11 - 4;
        }
        return Tensor.of(a, m, n);
    }

    private static Tensor random(int m, int n, long seed) {
        Rng rng = new Rng(seed);
        float[] a = new float[m * n];
        for (int i = 0; i < a.length; i++) {
            a[i] = (float) rng.nextGaussian();
        }
        return Tensor.of(a, m, n);
    }

    /** A matrix with singular values 1, ratio, ratio^2, ... */
    private static Tensor falling(int m, int n, double ratio) {
        int k = Math.min(m, n);
        float[] s = new float[k];
        for (int i = 0; i < k; i++) {
            s[i] = (float) Math.pow(ratio, i);
        }
        return new Linalg.Svd(
                        Linalg.qr(random(m, k, 1)).q(),
                        Tensor.of(s, k),
                        Linalg.transposed(Linalg.qr(random(n, k, 2)).q()))
                .product();
    }

    private static void close(Tensor a, Tensor b, double tolerance) {
        assertThat(a.shape()).isEqualTo(b.shape());
        for (int i = 0; i < a.size(); i++) {
            assertThat(a.get(i)).as("element %d of %s", i, a.shape()).isCloseTo(b.get(i), within((float) tolerance));
        }
    }

    private static void orthonormalColumns(Tensor q) {
        int k = q.dim(1);
        Tensor eye = Tensor.zeros(k, k);
        for (int i = 0; i < k; i++) {
            eye.buf().setAtIndex(JAVA_FLOAT, (long) i * k + i, 1f);
        }
        close(Ops.matmul(Linalg.transposed(q), q), eye, 1e-6);
    }

    private static double squares(Tensor a) {
        double sum = 0;
        for (float x : a.toArray()) {
            sum += (double) x * x;
        }
        return sum;
    }

    @ParameterizedTest
    @CsvSource({"1,1", "1,7", "7,1", "2,2", "5,3", "3,5", "64,64", "65,33", "33,65", "200,16", "16,200"})
    void factorsOfEverySizeMultiplyBackAndAreOrthonormal(int m, int n) {
        Tensor a = random(m, n, 3);
        float[] before = a.toArray();
        int k = Math.min(m, n);
        Linalg.Svd svd = Linalg.svd(a);
        assertThat(svd.u().shape()).isEqualTo(Shape.of(m, k));
        assertThat(svd.s().shape()).isEqualTo(Shape.of(k));
        assertThat(svd.vt().shape()).isEqualTo(Shape.of(k, n));
        close(svd.product(), a, 1e-5);
        orthonormalColumns(svd.u());
        orthonormalColumns(Linalg.transposed(svd.vt()));
        float[] s = svd.s().toArray();
        for (int i = 0; i < k; i++) {
            assertThat(s[i]).isGreaterThanOrEqualTo(i + 1 < k ? s[i + 1] : 0);
        }

        Linalg.Qr qr = Linalg.qr(a);
        close(Ops.matmul(qr.q(), qr.r()), a, 1e-5);
        orthonormalColumns(qr.q());
        assertThat(qr.r().shape()).isEqualTo(Shape.of(k, n));
        for (int i = 0; i < k; i++) {
            for (int j = 0; j < i; j++) {
                assertThat(qr.r().get((long) i * n + j)).isZero();
            }
        }
        assertThat(a.toArray()).as("the matrix itself").isEqualTo(before);
    }

    @Test
    void singularValuesAreThoseOfNumpy() {
        assertThat(Linalg.svd(example(5, 3)).s().toArray())
                .containsExactly(
                        new float[] {9.489143512730202f, 6.424165792087171f, 5.35595456203535f}, within(2e-6f));
        assertThat(Linalg.svd(example(3, 5)).s().toArray())
                .containsExactly(
                        new float[] {10.007245459203824f, 7.063287223865257f, 5.381915264329822f}, within(2e-6f));
        assertThat(Linalg.svd(example(4, 4)).s().toArray())
                .containsExactly(
                        new float[] {8.52526978299182f, 7.8221324755435555f, 5.522666779336198f, 5.256821312035423f},
                        within(2e-6f));
        assertThat(Linalg.svd(example(1, 4)).s().item()).isCloseTo(7.874007874011811f, within(2e-6f));
        assertThat(Linalg.svd(example(4, 1)).s().item()).isCloseTo(6.782329983125268f, within(2e-6f));
    }

    @Test
    void theTriangleHasNumpysSigns() {
        assertThat(Linalg.qr(example(5, 3)).r().toArray())
                .containsExactly(
                        new float[] {7.416198f, -3.910359f, -0.40452f, 0, -7.121032f, 0.78385f, 0, 0, -6.18239f},
                        within(2e-6f));
        assertThat(Linalg.qr(example(3, 5)).r().toArray())
                .containsExactly(
                        new float[] {
                            4.582576f,
                            -4.800794f,
                            2.618615f,
                            -4.364358f,
                            -4.14614f,
                            0,
                            -5.094348f,
                            -2.271425f,
                            3.327684f,
                            -4.337206f,
                            0,
                            0,
                            4.240694f,
                            3.298318f,
                            -1.413565f
                        },
                        within(2e-6f));
        assertThat(Linalg.qr(example(1, 4)).r().toArray()).containsExactly(new float[] {-4, 3, -1, 6}, within(2e-6f));
    }

    @Test
    void eigenvaluesOfASymmetricMatrix() {
        Tensor a = example(4, 4), symmetric = Ops.add(a, Linalg.transposed(a));
        Linalg.Eigen eigen = Linalg.eigSymmetric(symmetric);
        assertThat(eigen.values().toArray())
                .containsExactly(
                        new float[] {-13.929836873981431f, 9.676785608621639f, 12.202373432488859f, 14.050677832870917f
                        },
                        within(4e-6f));
        orthonormalColumns(eigen.vectors());
        close(
                new Linalg.Svd(eigen.vectors(), eigen.values(), Linalg.transposed(eigen.vectors())).product(),
                symmetric,
                1e-5);
        assertThat(Linalg.eigSymmetric(Tensor.of(new float[] {-3}, 1, 1))
                        .values()
                        .item())
                .isEqualTo(-3);
    }

    @Test
    void aTruncatedOneIsNearestAndWhatIsLeftIsTheTail() {
        Tensor a = random(24, 17, 5);
        Linalg.Svd all = Linalg.svd(a), first = Linalg.svd(a, 6);
        assertThat(first.rank()).isEqualTo(6);
        double tail = 0;
        for (int i = 6; i < 17; i++) {
            tail += (double) all.s().get(i) * all.s().get(i);
        }
        double left = squares(Ops.sub(a, first.product()));
        assertThat(left).isCloseTo(tail, within(1e-4 * tail));
        assertThat(squares(Ops.sub(a, Linalg.randomizedSvd(a, 6, 0, new Rng(1)).product())))
                .isGreaterThan(left);
    }

    @ParameterizedTest
    @CsvSource({"90,70", "70,90", "12,12", "1,9"})
    void theRandomisedOneFindsTheFirstDirections(int m, int n) {
        Tensor a = falling(m, n, 0.7);
        int rank = Math.min(8, Math.min(m, n));
        Linalg.Svd exact = Linalg.svd(a, rank), near = Linalg.randomizedSvd(a, rank, 4, new Rng(7));
        close(near.s(), exact.s(), 2e-6);
        close(near.product(), exact.product(), 1e-4);
        orthonormalColumns(near.u());
        assertThat(Linalg.randomizedSvd(a, rank, 4, new Rng(7)).u().toArray())
                .as("same seed")
                .isEqualTo(near.u().toArray());
    }

    @Test
    void morePowersComeNearer() {
        Tensor a = random(60, 60, 8);
        double[] left = new double[3];
        for (int i = 0; i < 3; i++) {
            left[i] = squares(
                    Ops.sub(a, Linalg.randomizedSvd(a, 8, 4 * i, new Rng(9)).product()));
        }
        assertThat(left[1]).isLessThan(left[0]);
        assertThat(left[2]).isLessThan(left[1]);
    }

    @Test
    void badInputIsNamed() {
        assertThatThrownBy(() -> Linalg.svd(Tensor.zeros(2, 3, 4)))
                .isInstanceOf(ShapeException.class)
                .hasMessage("svd: [2, 3, 4]: must be a matrix with at least one row and column");
        assertThatThrownBy(() -> Linalg.qr(Tensor.zeros(0, 3)))
                .hasMessage("qr: [0, 3]: must be a matrix with at least one row and column");
        assertThatThrownBy(() -> Linalg.svd(Tensor.of(new float[] {1, 2, 3, Float.NaN, 5, 6}, 2, 3)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("svd: [2, 3] holds NaN at [1, 0]: all numbers must be finite");
        assertThatThrownBy(() -> Linalg.eigSymmetric(Tensor.zeros(2, 3)))
                .hasMessage("eigSymmetric: [2, 3]: the matrix must be square");
        assertThatThrownBy(() -> Linalg.svd(Tensor.zeros(2, 3), 3))
                .hasMessage("svd: rank 3 does not fit a matrix [2, 3]: it must be in 1 .. 2");
        assertThatThrownBy(() -> Linalg.randomizedSvd(Tensor.zeros(2, 3), 0, 1, new Rng(0)))
                .hasMessage("randomizedSvd: rank 0 does not fit a matrix [2, 3]: it must be in 1 .. 2");
        assertThatThrownBy(() -> Linalg.randomizedSvd(Tensor.zeros(2, 3), 1, -1, new Rng(0)))
                .hasMessage("randomizedSvd: iterations -1 must not be negative");
        assertThat(Linalg.svd(Tensor.zeros(2, 3)).s().toArray()).containsOnly(0);
    }

    @Test
    void withoutNd4jTheArtifactIsNamed() throws Exception {
        String need = "matrix factorisations (SVD, QR) need LAPACK: ";
        assertThat(start(entry -> !entry.contains("nd4j")))
                .contains(need + "ND4J is not on the class path: add the artifact org.nd4j:nd4j-api");
        assertThat(start(entry -> !entry.matches(".*(linux|macosx|windows)-[a-z0-9_]+\\.jar")))
                .contains(
                        need + "ND4J is there but does not start: add org.nd4j:nd4j-native with the classifier of your"
                                + " platform");
    }

    /** Factorises in a JVM of its own with these entries of the class path. */
    public static final class Probe {
        private Probe() {}

        /** Prints the message of what is thrown. */
        public static void main(String[] args) {
            try {
                System.out.println(
                        "s=" + Linalg.svd(Tensor.of(new float[] {3}, 1, 1)).s().item());
            } catch (IllegalStateException e) {
                System.out.println(e.getMessage());
            }
        }
    }

    private static String start(Predicate<String> entries) throws Exception {
        String separator = System.getProperty("path.separator");
        String path = Arrays.stream(System.getProperty("java.class.path").split(separator))
                .filter(entries)
                .collect(Collectors.joining(separator));
        Process process = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "--enable-native-access=ALL-UNNAMED",
                        "--add-modules",
                        "jdk.incubator.vector",
                        "-cp",
                        path,
                        Probe.class.getName())
                .redirectErrorStream(true)
                .start();
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
        return out;
    }
}
