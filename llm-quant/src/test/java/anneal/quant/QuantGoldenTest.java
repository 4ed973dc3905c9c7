package anneal.quant;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import anneal.Golden;
import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.io.Safetensors;
import anneal.io.StoredTensor;
import anneal.kernels.BlockFormat;
import anneal.kernels.BlockMatrix;
import anneal.kernels.CodebookMatrix;
import anneal.kernels.F32Matrix;
import anneal.kernels.GroupMatrix;
import anneal.kernels.Int8Matrix;
import anneal.kernels.Matrix;
import anneal.kernels.Scales;
import anneal.nn.Stored;
import anneal.nn.Weight;
import anneal.tensor.DType;
import anneal.tensor.Memory;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

/** golden/quant: bytes of bitsandbytes and the gguf package, numbers of the formulas in its README. */
class QuantGoldenTest {
    private final Arena arena = Arena.ofShared();

    @AfterEach
    void close() {
        arena.close();
    }

    private static Path file(String name) {
        Path file = Golden.root().resolve("quant").resolve(name);
        Assumptions.assumeTrue(Files.exists(file), "no quant/" + name + " in the golden folder");
        return file;
    }

    private Map<String, StoredTensor> tensors(String name) {
        return Safetensors.open(file(name + ".safetensors"), arena).tensors();
    }

    private Matrix matrix(StoredTensor t) {
        int cols = (int) t.shape()[1];
        return new F32Matrix(arena.allocateFrom(ValueLayout.JAVA_FLOAT, t.floats()), (int) (t.count() / cols), cols);
    }

    private static float[] floats(Matrix m) {
        float[] all = new float[m.rows() * m.cols()];
        for (int r = 0; r < m.rows(); r++) {
            m.widen(r, 0, m.cols(), all, r * m.cols());
        }
        return all;
    }

    private static byte[] bytes(MemorySegment s, long count) {
        return s.asSlice(0, count).toArray(ValueLayout.JAVA_BYTE);
    }

    private static void same(MemorySegment found, StoredTensor expected, String what) {
        assertThat(bytes(found, expected.data().byteSize()))
                .as(what)
                .isEqualTo(expected.data().toArray(ValueLayout.JAVA_BYTE));
    }

    @Test
    void fourBits() {
        Map<String, StoredTensor> t = tensors("four-bit");
        int cases = 0;
        for (Object o : (List<?>) Json.readAny(file("four-bit.json"))) {
            Map<?, ?> c = (Map<?, ?>) o;
            String key = (String) c.get("case");
            int blockSize = ((Number) c.get("blocksize")).intValue();
            boolean nested = (Boolean) c.get("double");
            QuantFormat format = c.get("type").equals("nf4") ? new Nf4(blockSize, nested) : new Fp4(blockSize, nested);
            CodebookMatrix m = (CodebookMatrix) format.quantize(matrix(t.get((String) c.get("matrix"))), arena)
                    .matrix();
            same(m.codes(), t.get(key + ".packed"), key);
            switch (m.scales()) {
                case Scales.Plain p -> same(p.floats(), t.get(key + ".absmax"), key + " absmax");
                case Scales.Nested n -> {
                    same(n.codes(), t.get(key + ".absmax_codes"), key + " absmax codes");
                    same(n.absmax(), t.get(key + ".nested_absmax"), key + " nested absmax");
                    assertThat(n.offset())
                            .as(key)
                            .isEqualTo(t.get(key + ".offset").floats()[0]);
                }
            }
            assertThat(floats(m))
                    .as(key)
                    .containsExactly(t.get(key + ".dequantised").floats());
            cases++;
        }
        for (FourBit table : FourBit.values()) {
            float[] expected = t.get(table.name().toLowerCase(java.util.Locale.ROOT) + "_table")
                    .floats();
            for (int i = 0; i < 16; i++) {
                assertThat(table.table().get(i)).isEqualTo(expected[i]);
            }
        }
        Golden.report("quant/four-bit", cases, 0);
    }

    @Test
    void checkpoint() {
        Map<String, StoredTensor> t = tensors("bnb-checkpoint");
        List<String> layers = t.keySet().stream()
                .filter(k -> k.endsWith(".weight"))
                .map(k -> k.substring(0, k.length() - ".weight".length()))
                .toList();
        float[] expected = t.get("expected").floats();
        for (String layer : layers) {
            Map<String, Stored> given = new LinkedHashMap<>();
            t.forEach((k, s) -> {
                if (k.startsWith(layer + ".")) {
                    given.put(k.substring(layer.length() + 1), new Stored(s.dtype(), s.data(), s.shape()));
                }
            });
            Map<String, Stored> left = new LinkedHashMap<>(given);
            long[] shape = t.get("expected").shape();
            Weight w = new Bitsandbytes()
                    .read(layer, (int) shape[0], (int) shape[1], left, arena)
                    .orElseThrow();
            assertThat(left).isEmpty();
            assertThat(floats(w.matrix())).containsExactly(expected);
            Map<String, Stored> written = w.folderForm().orElseThrow().tensors();
            assertThat(written.keySet()).isEqualTo(given.keySet());
            written.forEach((k, s) -> {
                assertThat(s.dtype()).as(k).isEqualTo(given.get(k).dtype());
                assertThat(s.shape()).as(k).isEqualTo(given.get(k).shape());
                assertThat(s.data().toArray(ValueLayout.JAVA_BYTE))
                        .as(k)
                        .isEqualTo(given.get(k).data().toArray(ValueLayout.JAVA_BYTE));
            });
        }
        Golden.report("quant/bnb-checkpoint", layers.size(), 0);
    }

    @Test
    void int8() {
        Map<String, StoredTensor> t = tensors("int8");
        int cases = 0;
        double worst = 0;
        for (String key : t.keySet()) {
            Matcher m = Pattern.compile("thr([0-9.]+)\\.y").matcher(key);
            if (!m.matches()) {
                continue;
            }
            String prefix = key.substring(0, key.length() - 1);
            Int8Weight w = (Int8Weight) new Int8(Double.parseDouble(m.group(1))).quantize(matrix(t.get("w")), arena);
            same(w.matrix().codes(), t.get(prefix + "qw"), prefix + "qw");
            same(w.matrix().absmax(), t.get(prefix + "sw"), prefix + "sw");
            worst = Math.max(worst, product(w, t, prefix));
            cases++;
        }
        Int8.BothWays both =
                Int8.BothWays.of(t.get("w").floats(), (int) t.get("w").shape()[0], (int)
                        t.get("w").shape()[1]);
        assertThat(both.rows()).isEqualTo(t.get("thr0.qw").data().toArray(ValueLayout.JAVA_BYTE));
        Golden.report("quant/int8", cases, worst);
    }

    /** The reference multiplies outlier columns with the weight before it was rounded; that difference is added here. */
    private double product(Int8Weight w, Map<String, StoredTensor> t, String prefix) {
        int[] x = java.util.Arrays.stream(t.get("x").shape())
                .mapToInt(i -> (int) i)
                .toArray();
        float[] xs = t.get("x").floats(),
                ws = t.get("w").floats(),
                y = t.get(prefix + "y").floats();
        float[] rounded = floats(w.matrix());
        int[] outlier = t.get(prefix + "outlier_columns").ints();
        double worst = 0;
        try (Memory.Scope scope = Memory.scope()) {
            Tensor found = w.matmulT(Tensor.of(xs, x));
            for (int r = 0; r < x[0]; r++) {
                for (int o = 0; o < w.out(); o++) {
                    double expected = y[r * w.out() + o];
                    for (int c = 0; c < x[1]; c++) {
                        expected += outlier[c] * xs[r * x[1] + c] * ((double) rounded[o * x[1] + c] - ws[o * x[1] + c]);
                    }
                    double apart = Math.abs(found.get((long) r * w.out() + o) - expected);
                    assertThat(apart).as(prefix).isLessThan(2e-5);
                    worst = Math.max(worst, apart);
                }
            }
        }
        return worst;
    }

    @Test
    void groupwise() {
        Map<String, StoredTensor> t = tensors("groupwise");
        int cases = 0;
        for (String key : t.keySet()) {
            Matcher m = Pattern.compile("rtn\\.b(\\d+)\\.g(\\d+)\\.(sym|asym)\\.codes")
                    .matcher(key);
            if (!m.matches()) {
                continue;
            }
            String prefix = key.substring(0, key.length() - "codes".length());
            boolean symmetric = m.group(3).equals("sym");
            GroupInt format = new GroupInt(Integer.parseInt(m.group(1)), Integer.parseInt(m.group(2)), symmetric);
            GroupMatrix g =
                    (GroupMatrix) format.quantize(matrix(t.get("w")), arena).matrix();
            int[] codes = t.get(key).ints();
            int half = symmetric ? 1 << format.bits() - 1 : 0;
            for (int i = 0; i < codes.length; i++) {
                assertThat(g.code(i / g.cols(), i % g.cols()) - half).as(key).isEqualTo(codes[i]);
            }
            same(g.scales(), t.get(prefix + "scales"), prefix + "scales");
            float[] zeros = t.get(prefix + "zeros").floats();
            for (int i = 0; i < zeros.length; i++) {
                assertThat((g.zeros().get(ValueLayout.JAVA_BYTE, i) & 255) - half)
                        .as(prefix)
                        .isEqualTo((int) zeros[i]);
            }
            float[] found = floats(g), expected = t.get(prefix + "dequantised").floats();
            for (int i = 0; i < found.length; i++) {
                assertThat(found[i] + 0f).as(prefix).isEqualTo(expected[i] + 0f); // a zero's sign is of no matter
            }
            cases++;
        }
        Golden.report("quant/groupwise", cases, 0);
    }

    /** Facts of the file say which formats the package quantises itself. */
    @Test
    void ggufBlocks() {
        Map<String, StoredTensor> t = tensors("gguf-blocks");
        JsonObject facts = Json.read(file("gguf-blocks.json"));
        int cases = 0;
        for (String name : facts.keys()) {
            boolean plain = name.equals(DType.BF16.name()) || name.equals(DType.F16.name());
            if (!facts.string(name).startsWith("quantised") || plain) {
                continue;
            }
            BlockMatrix m = (BlockMatrix) new GgufBlocks(BlockFormat.valueOf(name))
                    .quantize(matrix(t.get("rows")), arena)
                    .matrix();
            same(m.data(), t.get(name + ".bytes"), name);
            cases++;
        }
        Golden.report("quant/gguf-blocks written", cases, 0);
    }

    @Test
    void whatFormatsLoseOfANormalWeight() {
        java.util.Random random = new java.util.Random(3);
        MemorySegment normal = arena.allocate(4L * 256 * 1024, 4);
        for (int i = 0; i < 256 * 1024; i++) {
            normal.setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) random.nextGaussian());
        }
        Matrix w = new F32Matrix(normal, 256, 1024);
        Map<String, Double> lost = new LinkedHashMap<>();
        for (String name :
                List.of("nf4", "nf4-dq", "fp4", "int4-g64", "q4_0", "q4_k", "q5_k", "q6_k", "q8_0", "int8")) {
            lost.put(
                    name,
                    Quantizer.relativeError(
                            w, QuantFormat.of(name).quantize(w, arena).matrix()));
        }
        System.out.println("lost of a normal weight: " + lost);
        assertThat(lost.get("nf4")).isLessThan(lost.get("int4-g64")).isLessThan(lost.get("fp4"));
        assertThat(lost.get("nf4-dq")).isCloseTo(lost.get("nf4"), within(0.001));
        assertThat(lost.get("q4_k")).isLessThan(lost.get("q4_0")).isGreaterThan(lost.get("q5_k"));
        assertThat(lost.get("q6_k")).isLessThan(lost.get("q5_k")).isGreaterThan(lost.get("q8_0"));
    }

    @Test
    void theMatrixHasTheBytesItSays() {
        Matrix w = new F32Matrix(arena.allocate(4L * 64 * 256), 64, 256);
        assertThat(new Nf4(64).quantize(w, arena).bytes()).isEqualTo(8192 + 4 * 256);
        assertThat(new Nf4(64, true).quantize(w, arena).bytes()).isEqualTo(8192 + 256 + 4);
        assertThat(new GroupInt(4, 128, true).quantize(w, arena).bytes()).isEqualTo(8192 + 5 * 128);
        assertThat(GgufBlocks.Q4_K.quantize(w, arena).bytes()).isEqualTo(64 * 144);
        assertThat(((Int8Matrix) new Int8().quantize(w, arena).matrix()).bytes())
                .isEqualTo(64 * 256 + 256);
    }
}
