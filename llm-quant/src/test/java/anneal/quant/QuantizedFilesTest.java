package anneal.quant;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.Pretrained;
import anneal.TinyModel;
import anneal.io.Gguf;
import anneal.io.JsonObject;
import anneal.io.Safetensors;
import anneal.io.StoredTensor;
import anneal.model.Decoder;
import anneal.model.Family;
import anneal.model.ModelFiles;
import anneal.model.Tokens;
import anneal.nn.Linear;
import anneal.tensor.DType;
import anneal.tensor.Memory;
import anneal.tensor.Tape;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Quantised models on disk: bitsandbytes' folders and GGUF files, written, read, and equal to the bit. */
class QuantizedFilesTest extends QuantizedFixture {
    @ParameterizedTest
    @ValueSource(strings = {"nf4", "nf4-b128-dq", "fp4-dq", "int8"})
    void aFolderIsBitsandbytes(String format) throws IOException {
        JsonObject config = requireFolder(format);
        assertThat(config.string("quant_method")).isEqualTo("bitsandbytes");
        assertThat(config.flag("load_in_4bit")).isEqualTo(!format.equals("int8"));
        assertThat(config.list("llm_int8_skip_modules")).isEqualTo(List.of("lm_head"));
    }

    @Test
    void scalesKeepTheirTypeInAFolderOf16Bits() throws IOException {
        Map<String, StoredTensor> t =
                Safetensors.open(saved("nf4", DType.BF16), arena).tensors();
        assertThat(t.get("lm_head.weight").dtype()).isEqualTo(DType.BF16);
        assertThat(t.get("model.layers.0.mlp.up_proj.weight.absmax").dtype()).isEqualTo(DType.F32);
    }

    @Test
    void layersOfTwoKindsDoNotFitOneConfig() throws IOException {
        Decoder model = quantized("nf4", Family.LLAMA);
        Linear layer = model.find(Linear.class).get("lm_head");
        layer.weight(new Int8().quantize(layer.weight().matrix(), arena));
        Path folder = Files.createDirectory(dir.resolve("two"));
        assertThatThrownBy(() -> ModelFiles.save(model, folder, DType.F32))
                .hasMessage("save: layers are quantised in ways that one config.json cannot describe:"
                        + " model.layers.0.self_attn.q_proj and lm_head differ");
    }

    @Test
    void aDamagedFolderIsToldInOneSentence() throws IOException {
        String q = "model.layers.0.self_attn.q_proj.weight", k = "model.layers.0.self_attn.k_proj.weight.absmax";
        Path damaged = damaged("nf4-dq", t -> {
            t.remove(q + ".nested_quant_map");
            t.put(k, StoredTensor.of(k, new float[3], 3));
        });
        assertThatThrownBy(() -> ModelFiles.load(damaged, arena))
                .hasMessageContaining(q + ".nested_quant_map is missing")
                .hasMessageContaining(k + " has 12 bytes of F32, not 512 of U8");
        Path file = damaged.resolve("config.json");
        Files.writeString(file, Files.readString(file).replace("\"bitsandbytes\"", "\"gptq\""));
        assertThatThrownBy(() -> ModelFiles.load(damaged, arena))
                .hasMessageContaining(
                        "cannot be read here (quant_method \"gptq\", readable: bitsandbytes, compressed-tensors,"
                                + " low_rank)");
    }

    @ParameterizedTest
    @ValueSource(strings = {"q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q4_k", "q5_k", "q6_k"})
    void aGgufFileKeepsItsBlocks(String format) throws IOException {
        Path file = where().resolve("tiny-" + format + ".gguf");
        try (Pretrained lm = Pretrained.create(
                QuantizerTest.config(Family.LLAMA, TinyModel.VOCABULARY, false), TinyModel.tokenizer(), 3)) {
            Decoder model = lm.model();
            Linear up = model.find(Linear.class).get("model.layers.1.mlp.up_proj");
            Files.write(
                    where().resolve("source.f32"),
                    up.weight().parameter().orElseThrow().buf().toArray(ValueLayout.JAVA_BYTE));
            Quantizer.format(QuantFormat.of(format)).except("lm_head").apply(model);
            lm.saveGguf(file, DType.F16);
            Gguf gguf = Gguf.open(file, arena);
            assertThat(gguf.get("blk.1.ffn_up.weight").dtype().name()).isEqualToIgnoringCase(format);
            assertThat(gguf.get("output.weight").dtype()).isEqualTo(DType.F16);
            Decoder back = ModelFiles.load(file, gguf, arena);
            for (String path : List.of("model.layers.1.self_attn.q_proj", "model.layers.0.mlp.down_proj")) {
                same(back.find(Linear.class).get(path), model.find(Linear.class).get(path));
            }
            System.out.println(format + " logits " + Arrays.toString(Arrays.copyOf(last(back), 4)));
        }
    }

    private static void same(Linear found, Linear expected) {
        float[] a = new float[found.in()], b = new float[found.in()];
        for (int r = 0; r < found.out(); r++) {
            found.weight().matrix().widen(r, 0, a.length, a, 0);
            expected.weight().matrix().widen(r, 0, b.length, b, 0);
            assertThat(a).isEqualTo(b);
        }
    }

    /** Logits of the last of four tokens, which another program can be asked for too. */
    private static float[] last(Decoder model) {
        float[] all;
        try (Memory.Scope scope = Memory.scope();
                Tape.Pause p = Tape.pause()) {
            all = model.logits(Tokens.of(new int[] {5, 17, 99, 3}, 1, 4)).toArray();
        }
        return Arrays.copyOfRange(all, all.length / 4 * 3, all.length);
    }

    /** Formats that GGUF does not have become floats there. */
    @Test
    void nf4InAGgufFileIsWidened() {
        Decoder model = quantized("nf4", Family.QWEN2);
        Path file = dir.resolve("nf4.gguf");
        ModelFiles.saveGguf(model, file, DType.F32, to -> {});
        Decoder back = ModelFiles.load(file, Gguf.open(file, arena), arena);
        assertThat(back.find(Linear.class)
                        .get("model.layers.0.mlp.up_proj")
                        .weight()
                        .format())
                .isEqualTo("F32");
        float[] found = logits(back), expected = logits(model);
        for (int i = 0; i < found.length; i++) {
            assertThat(Math.abs(found[i] - expected[i])).isLessThan(1e-5f);
        }
    }

    /** {@code -Danneal.keep=DIR} keeps the files for programs of others. */
    private Path where() {
        String keep = System.getProperty("anneal.keep", "");
        return keep.isEmpty() ? dir : Path.of(keep);
    }
}
