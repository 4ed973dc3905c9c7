package anneal.quant;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.io.JsonObject;
import anneal.io.StoredTensor;
import anneal.kernels.F32Matrix;
import anneal.model.ModelFiles;
import anneal.nn.FolderForm;
import anneal.nn.Stored;
import anneal.nn.Weight;
import anneal.nn.WeightReader;
import anneal.tensor.DType;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Integers by groups in compressed-tensors' packed layout: folders written, read, and equal to the bit. */
class PackQuantizedTest extends QuantizedFixture {
    @ParameterizedTest
    @ValueSource(
            strings = {
                "int4-g32",
                "int4-g32-asym",
                "int4-row",
                "int4-row-asym",
                "int8-g32",
                "int8-g32-asym",
                "int8-row",
                "int8-row-asym",
                "int3-g64",
                "int3-row-asym",
                "int2-g32",
                "int5-g32-asym"
            })
    void aFolderComputesTheSameAfterAsBefore(String format) throws IOException {
        JsonObject config = requireFolder(format);
        assertThat(config.string("quant_method")).isEqualTo("compressed-tensors");
        assertThat(config.string("format")).isEqualTo("pack-quantized");
        assertThat(config.list("ignore")).isEqualTo(List.of("lm_head"));
        JsonObject weights = config.object("config_groups").object("group_0").object("weights");
        assertThat(weights.integer("num_bits")).isEqualTo(format.charAt(3) - '0');
        assertThat(weights.flag("symmetric")).isEqualTo(!format.endsWith("-asym"));
        assertThat(weights.string("strategy")).isEqualTo(format.contains("-row") ? "channel" : "group");
    }

    /** By hand: the words, the first code lowest; zeros along the outputs; codes of 3 bits that cross from a word into the next. */
    @Test
    void wordsAreThoseOfTheLayout() {
        float[] w = {-8, 7, 1, 0, -1, 2, 3, -2, 7, 0, 0, 0, 0, 0, 0, 1};
        Map<String, Stored> four = form(new GroupInt(4, 8, true), w, 2, 8).tensors();
        assertThat(ints(four.get("weight_packed"))[1]).isEqualTo(0x9888888f); // scale 1: codes 7 + 8, six of 8, 1 + 8
        assertThat(four.get("weight_packed").shape()).containsExactly(2, 1);
        assertThat(four.get("weight_scale").shape()).containsExactly(2, 1);
        assertThat(four).doesNotContainKey("weight_zero_point");
        Stored shape = four.get("weight_shape");
        assertThat(shape.dtype()).isEqualTo(DType.I64);
        assertThat(shape.data().get(ValueLayout.JAVA_LONG_UNALIGNED, 8)).isEqualTo(8);
        float[] ramp = {-15, 0, -5, 10, 0, 15, -3, 12}; // [4, 2] in 4 bits: zeros 15, 5, 0, 3
        Map<String, Stored> zeros = form(new GroupInt(4, 2, false), ramp, 4, 2).tensors();
        assertThat(ints(zeros.get("weight_zero_point"))).containsExactly(0x305f);
        float[] rows = new float[12];
        rows[10] = 3; // 3 bits, scale 1: code 4 everywhere, 7 at bits 30, 31 and 0 of the next word
        int[] three = ints(
                form(new GroupInt(3, GroupInt.ROW, true), rows, 1, 12).tensors().get("weight_packed"));
        assertThat(three).hasSize(2);
        assertThat(three[0] >>> 30).isEqualTo(3);
        assertThat(three[1]).isEqualTo(1 | 4 << 1);
    }

    private FolderForm form(GroupInt format, float[] w, int rows, int cols) {
        MemorySegment data = arena.allocateFrom(ValueLayout.JAVA_FLOAT, w);
        return format.quantize(new F32Matrix(data, rows, cols), arena)
                .folderForm()
                .orElseThrow();
    }

    private static int[] ints(Stored s) {
        assertThat(s.dtype()).isEqualTo(DType.I32);
        return s.data().toArray(ValueLayout.JAVA_INT_UNALIGNED);
    }

    @Test
    void aDamagedFolderIsToldInOneSentence() throws IOException {
        String layer = "model.layers.0.self_attn.";
        String k = layer + "k_proj.weight_scale", v = layer + "v_proj.weight_packed";
        Path damaged = damaged("int4-g32-asym", t -> {
            t.remove(layer + "q_proj.weight_zero_point");
            t.put(k, StoredTensor.of(k, new float[3], 3));
            t.put(v, StoredTensor.of(v, new int[6], 2, 3));
        });
        assertThatThrownBy(() -> ModelFiles.load(damaged, arena))
                .hasMessageContaining(layer + "q_proj.weight_zero_point is missing")
                .hasMessageContaining(k + " has the shape [3] and not ")
                .hasMessageContaining(v + " is [2, 3] of I32, not [");
    }

    @Test
    void tensorsThatDoNotFitAreNamed() {
        FolderForm form = form(new GroupInt(4, 8, true), new float[32], 2, 16);
        WeightReader reader = reader(form);
        assertThat(reader.read("l", 2, 16, new LinkedHashMap<>(), arena)).isEmpty();
        assertThatThrownBy(() -> reader.read("l", 2, 24, new LinkedHashMap<>(form.tensors()), arena))
                .hasMessage("l.weight_shape says [2, 16], not [2, 24]");
        assertThatThrownBy(() -> reader.read("l", 2, 12, new LinkedHashMap<>(form.tensors()), arena))
                .hasMessage("l: rows of 12 numbers are no whole groups of 8, which INT4-G8 wants");
        Map<String, Stored> none = new LinkedHashMap<>(form.tensors());
        none.remove("weight_shape");
        assertThatThrownBy(() -> reader.read("l", 2, 16, none, arena)).hasMessage("l.weight_shape is missing");
        Map<String, Stored> infinite = new LinkedHashMap<>(form.tensors());
        float[] scales = {1, 1, Float.POSITIVE_INFINITY, 1};
        MemorySegment data = arena.allocateFrom(ValueLayout.JAVA_FLOAT, scales);
        infinite.put("weight_scale", new Stored(DType.F32, data, 2, 2));
        assertThatThrownBy(() -> reader.read("l", 2, 16, infinite, arena))
                .hasMessage("l.weight_scale holds Infinity: scales must be finite");
    }

    /** A file may say which group each column is in, as long as they are neighbours. */
    @Test
    void columnsInOtherOrdersAreRefused() {
        FolderForm form = form(new GroupInt(4, 8, true), new float[32], 2, 16);
        int[] order = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
        Weight read = reader(form).read("l", 2, 16, ordered(form, order), arena).orElseThrow();
        assertThat(read.format()).isEqualTo("INT4-G8");
        order[3] = 1;
        assertThatThrownBy(() -> reader(form).read("l", 2, 16, ordered(form, order), arena))
                .hasMessage("l.weight_g_idx puts column 3 into group 1: groups must be neighbours, each of 8 columns"
                        + " (quantise without actorder \"group\")");
    }

    private Map<String, Stored> ordered(FolderForm form, int[] order) {
        Map<String, Stored> tensors = new LinkedHashMap<>(form.tensors());
        MemorySegment data = arena.allocateFrom(ValueLayout.JAVA_INT, order);
        tensors.put("weight_g_idx", new Stored(DType.I32, data, order.length));
        return tensors;
    }

    private static WeightReader reader(FolderForm form) {
        return reader(form.config(List.of()));
    }

    private static WeightReader reader(Map<String, Object> config) {
        return WeightReader.all().stream()
                .filter(r -> r.method().equals("compressed-tensors"))
                .findFirst()
                .orElseThrow()
                .configured(config);
    }

    /** Files of the library itself may leave the strategy out, and scales may have 16 bits. */
    @Test
    void theStrategyFollowsFromTheSizeOfAGroup() {
        FolderForm form = form(new GroupInt(8, GroupInt.ROW, true), new float[] {1, 2, 3, 4}, 1, 4);
        Map<String, Object> weights = Map.of("num_bits", 8, "type", "int", "group_size", -1);
        Map<String, Stored> tensors = new LinkedHashMap<>(form.tensors());
        MemorySegment half = arena.allocateFrom(ValueLayout.JAVA_SHORT, Float.floatToFloat16(0.25f));
        tensors.put("weight_scale", new Stored(DType.F16, half, 1, 1));
        Weight read = reader(config(weights, Map.of()))
                .read("l", 1, 4, tensors, arena)
                .orElseThrow();
        assertThat(read.format()).isEqualTo("INT8-ROW");
        float[] row = new float[4];
        read.matrix().widen(0, 0, 4, row, 0);
        assertThat(row[3]).isEqualTo(127 * 0.25f);
    }

    private static Map<String, Object> config(Map<String, Object> weights, Map<String, Object> inputs) {
        return PackQuantized.config("pack-quantized", weights, inputs, List.of());
    }

    @ParameterizedTest
    @CsvSource({"9, int, group, 32", "4, float, group, 32", "4, int, tensor, 0", "4, int, group, 0", "4, int, block, 32"
    })
    void whatTheLayoutCannotBeReadAsIsSaid(int bits, String type, String strategy, int size) {
        Map<String, Object> weights = Map.of("num_bits", bits, "type", type, "strategy", strategy, "group_size", size);
        assertThatThrownBy(() -> reader(config(weights, Map.of())))
                .hasMessageStartingWith("compressed-tensors: weights {")
                .hasMessageEndingWith("cannot be read; what can of pack-quantized is num_bits 2 to 8, type int,"
                        + " strategy channel, or group with a group_size");
    }

    @Test
    void integersForInputsWantSymmetricWeights() {
        Map<String, Object> weights = PackQuantized.args(4, false, "channel", false);
        assertThatThrownBy(() -> reader(config(weights, PackQuantized.args(8, true, "token", true))))
                .hasMessageEndingWith("must be symmetric where inputs are integers too");
    }
}
