package anneal.quant;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.ArenaFixture;
import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.io.Safetensors;
import anneal.io.SafetensorsWriter;
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
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Consumer;

/** Small quantised models, what they say, and their folders. */
abstract class QuantizedFixture extends ArenaFixture {
    /** All but the head is in the format. */
    Decoder quantized(String format, Family family) {
        Decoder model = QuantizerTest.model(arena, family, false);
        Quantizer.format(QuantFormat.of(format)).except("lm_head").apply(model);
        return model;
    }

    static float[] logits(Decoder model) {
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            return model.logits(Tokens.of(new int[] {5, 17, 99, 3, 42, 8, 61, 7}, 2, 4))
                    .toArray();
        }
    }

    /** A new folder of a model in the format. */
    Path saved(String format, DType floats) throws IOException {
        Path folder = Files.createDirectory(dir.resolve(format));
        ModelFiles.save(quantized(format, Family.LLAMA), folder, floats);
        return folder;
    }

    /** Reads {@link #saved}, which must be the same model in the same format, and again the same file. Returns what config.json says. */
    JsonObject requireFolder(String format) throws IOException {
        Path folder = saved(format, DType.F32), again = Files.createDirectory(dir.resolve("again"));
        Decoder back = ModelFiles.load(folder, arena);
        String name = QuantFormat.of(format).name();
        back.find(Linear.class)
                .forEach((path, l) ->
                        assertThat(l.weight().format()).as(path).isEqualTo(path.equals("lm_head") ? "F32" : name));
        assertThat(logits(back)).isEqualTo(logits(quantized(format, Family.LLAMA)));
        ModelFiles.save(back, again, DType.F32);
        assertThat(again.resolve("model.safetensors")).hasSameBinaryContentAs(folder.resolve("model.safetensors"));
        return Json.read(folder.resolve("config.json")).object("quantization_config");
    }

    /** A copy of {@link #saved} whose tensors were changed. */
    Path damaged(String format, Consumer<Map<String, StoredTensor>> change) throws IOException {
        Path whole = saved(format, DType.F32), damaged = Files.createDirectory(dir.resolve("damaged"));
        Map<String, StoredTensor> tensors =
                new LinkedHashMap<>(Safetensors.open(whole, arena).tensors());
        change.accept(tensors);
        Files.copy(whole.resolve("config.json"), damaged.resolve("config.json"));
        new SafetensorsWriter().write(damaged.resolve("model.safetensors"), new ArrayList<>(tensors.values()));
        return damaged;
    }
}
