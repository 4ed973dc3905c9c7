package anneal.quant;

import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.kernels.CodebookMatrix;
import anneal.kernels.Int8Matrix;
import anneal.kernels.Scales;
import anneal.nn.FolderForm;
import anneal.nn.Stored;
import anneal.nn.Weight;
import anneal.nn.WeightReader;
import anneal.tensor.DType;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/**
 * Weights as bitsandbytes keeps them in safetensors files.
 *
 * <p>A layer of 4 bits has the tensors weight (bytes [n / 2, 1]), weight.absmax, weight.quant_map (the 16 values),
 * weight.quant_state.bitsandbytes__nf4 or __fp4 (JSON in bytes), and with double quantisation weight.nested_absmax and
 * weight.nested_quant_map; absmax then holds bytes. One of 8 bits has weight (signed bytes [out, in]), SCB (absmax of each row) and
 * weight_format (0: by rows).
 */
public final class Bitsandbytes implements WeightReader {
    private static final String STATE = "weight.quant_state.bitsandbytes__";
    private static final String ABSMAX = "weight.absmax", MAP = "weight.quant_map";
    private static final String NESTED_ABSMAX = "weight.nested_absmax", NESTED_MAP = "weight.nested_quant_map";

    /** For {@link java.util.ServiceLoader}. */
    public Bitsandbytes() {}

    @Override
    public String method() {
        return "bitsandbytes";
    }

    // ---------------------------------------------------------------- reading

    @Override
    public Optional<Weight> read(String layer, int out, int in, Map<String, Stored> tensors, Arena arena) {
        Tensors t = new Tensors(layer, tensors);
        for (FourBit table : FourBit.values()) {
            if (tensors.containsKey(STATE + name(table))) {
                return Optional.of(fourBit(t, table, out, in));
            }
        }
        return tensors.containsKey("SCB") ? Optional.of(int8(t, out, in)) : Optional.empty();
    }

    private static String name(FourBit table) {
        return table.name().toLowerCase(Locale.ROOT);
    }

    private static Weight fourBit(Tensors t, FourBit table, int out, int in) {
        byte[] json = t.take(STATE + name(table), DType.U8, -1).toArray(ValueLayout.JAVA_BYTE);
        JsonObject state = Json.parse(new String(json, StandardCharsets.UTF_8), t.layer + "." + STATE + name(table));
        long numbers = (long) out * in;
        int blockSize = state.integer("blocksize");
        int[] shape = state.integers("shape");
        if (shape.length != 2 || shape[0] != out || shape[1] != in) {
            throw new IllegalArgumentException(t.layer + ": the quantised weight is " + Arrays.toString(shape)
                    + ", not [" + out + ", " + in + "]");
        }
        boolean nested = t.tensors.containsKey(NESTED_ABSMAX);
        QuantFormat format = table == FourBit.NF4 ? new Nf4(blockSize, nested) : new Fp4(blockSize, nested);
        long blocks = Math.ceilDiv(numbers, (long) blockSize);
        MemorySegment codes = t.take("weight", null, Math.ceilDiv(numbers, 2L));
        List<Float> values = values(t.take(MAP, DType.F32, 64), table);
        Scales scales;
        if (nested) {
            int nestedBlock = state.integer("nested_blocksize");
            if (nestedBlock < 1) {
                throw new IllegalArgumentException(t.layer + ": nested_blocksize is " + nestedBlock);
            }
            scales = new Scales.Nested(
                    t.take(ABSMAX, DType.U8, blocks),
                    t.take(NESTED_ABSMAX, DType.F32, 4 * Math.ceilDiv(blocks, (long) nestedBlock)),
                    t.take(NESTED_MAP, DType.F32, 1024),
                    (float) state.number("nested_offset"),
                    nestedBlock);
        } else {
            scales = new Scales.Plain(t.take(ABSMAX, DType.F32, 4 * blocks));
        }
        return new FourBitWeight(format, new CodebookMatrix(codes, scales, out, in, blockSize, values));
    }

    /** The table of the file; the usual one is one object, by which emitted code finds it. */
    private static List<Float> values(MemorySegment map, FourBit usual) {
        List<Float> values = new ArrayList<>();
        for (int i = 0; i < 16; i++) {
            values.add(map.get(ValueLayout.JAVA_FLOAT_UNALIGNED, 4L * i) + 0f); // no -0
        }
        return values.equals(usual.table()) ? usual.table() : values;
    }

    private static Weight int8(Tensors t, int out, int in) {
        if (t.tensors.containsKey("weight_format")) {
            MemorySegment form = t.take("weight_format", null, -1);
            if (form.byteSize() < 1 || form.get(ValueLayout.JAVA_BYTE, 0) != 0) {
                throw new IllegalArgumentException(
                        t.layer + ": 8-bit weights are read if they stand by rows, weight_format 0");
            }
        }
        MemorySegment codes = t.take("weight", DType.I8, (long) out * in), absmax = t.take("SCB", DType.F32, 4L * out);
        return new Int8Weight(new Int8(), new Int8Matrix(codes, absmax, out, in));
    }

    /** What the file has of a layer. */
    private record Tensors(String layer, Map<String, Stored> tensors) {
        /** The bytes of a tensor, checked against its type, if that is given, and its size, if that is not -1. */
        MemorySegment take(String name, DType type, long bytes) {
            Stored s = tensors.remove(name);
            if (s == null) {
                throw new IllegalArgumentException(layer + "." + name + " is missing");
            }
            if (type != null && s.dtype() != type || bytes >= 0 && s.data().byteSize() != bytes) {
                throw new IllegalArgumentException(
                        layer + "." + name + " has " + s.data().byteSize() + " bytes of " + s.dtype() + ", not "
                                + (bytes < 0 ? "bytes" : bytes) + " of " + (type == null ? s.dtype() : type));
            }
            return s.data();
        }
    }

    // ---------------------------------------------------------------- writing

    /** A layer of 4 bits. */
    record FourBitForm(FourBitWeight weight) implements FolderForm {
        @Override
        public Map<String, Stored> tensors() {
            CodebookMatrix m = weight.matrix();
            long numbers = (long) m.rows() * m.cols(), blocks = Math.ceilDiv(numbers, (long) m.blockSize());
            long packed = Math.ceilDiv(numbers, 2L);
            Map<String, Stored> all = new LinkedHashMap<>();
            all.put("weight", new Stored(DType.U8, m.codes().asSlice(0, packed), packed, 1));
            StringBuilder state = new StringBuilder("{\"quant_type\": \"" + table() + "\", \"blocksize\": "
                    + m.blockSize() + ", \"dtype\": \"float32\", \"shape\": [" + m.rows() + ", " + m.cols() + "]");
            switch (m.scales()) {
                case Scales.Plain p -> all.put(ABSMAX, floats(p.floats(), blocks));
                case Scales.Nested n -> {
                    all.put(ABSMAX, new Stored(DType.U8, n.codes().asSlice(0, blocks), blocks));
                    all.put(NESTED_ABSMAX, floats(n.absmax(), Math.ceilDiv(blocks, (long) n.blockSize())));
                    all.put(NESTED_MAP, floats(n.map(), 256));
                    state.append(", \"nested_blocksize\": " + n.blockSize()
                            + ", \"nested_dtype\": \"float32\", \"nested_offset\": " + (double) n.offset());
                }
            }
            MemorySegment map = Arena.ofAuto().allocate(64, 4);
            for (int i = 0; i < 16; i++) {
                map.setAtIndex(ValueLayout.JAVA_FLOAT, i, m.values().get(i));
            }
            all.put(MAP, floats(map, 16));
            byte[] json = state.append("}").toString().getBytes(StandardCharsets.UTF_8);
            all.put(STATE + table(), new Stored(DType.U8, MemorySegment.ofArray(json), json.length));
            return all;
        }

        private String table() {
            return name(weight.quantFormat() instanceof Nf4 ? FourBit.NF4 : FourBit.FP4);
        }

        private static Stored floats(MemorySegment s, long count) {
            return new Stored(DType.F32, s.asSlice(0, 4 * count), count);
        }

        @Override
        public Map<String, Object> config(List<String> plain) {
            Map<String, Object> json = bitsandbytes(true, plain, 6);
            json.put("bnb_4bit_quant_type", table());
            json.put("bnb_4bit_use_double_quant", weight.matrix().scales() instanceof Scales.Nested);
            json.put("bnb_4bit_compute_dtype", "float32");
            json.put("bnb_4bit_quant_storage", "uint8");
            return json;
        }
    }

    /** A layer of 8 bits. */
    record Int8Form(Int8Weight weight) implements FolderForm {
        @Override
        public Map<String, Stored> tensors() {
            Int8Matrix m = weight.matrix();
            long numbers = (long) m.rows() * m.cols();
            Map<String, Stored> all = new LinkedHashMap<>();
            all.put("weight", new Stored(DType.I8, m.codes().asSlice(0, numbers), m.rows(), m.cols()));
            all.put("SCB", new Stored(DType.F32, m.absmax().asSlice(0, 4L * m.rows()), m.rows()));
            all.put("weight_format", new Stored(DType.U8, MemorySegment.ofArray(new byte[1])));
            return all;
        }

        @Override
        public Map<String, Object> config(List<String> plain) {
            return bitsandbytes(false, plain, weight.quantFormat().threshold());
        }
    }

    private static Map<String, Object> bitsandbytes(boolean four, List<String> plain, double threshold) {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("quant_method", "bitsandbytes");
        json.put("load_in_4bit", four);
        json.put("load_in_8bit", !four);
        json.put("llm_int8_threshold", threshold);
        json.put("llm_int8_has_fp16_weight", false);
        json.put("llm_int8_enable_fp32_cpu_offload", false);
        json.put("llm_int8_skip_modules", plain);
        return json;
    }
}
