package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.io.Safetensors;
import anneal.io.StoredTensor;
import anneal.model.Decoder;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Map;

/** Prefix, prompt and P-tuning: the file holds vectors, what made them is recorded beside it. */
final class PromptGoldenCase extends PeftGoldenTest.Case {
    PromptGoldenCase(Path folder, Arena arena) {
        super(folder, arena);
    }

    @Override
    String prefix() {
        return "";
    }

    /** Made by its configuration, with PEFT's first numbers; the file of the fresh adapter gives the same. */
    @Override
    Adapters fresh(Decoder model) {
        Path init = folder.resolve("init");
        Adapters loaded = Adapters.load(model, init);
        compareLogits("logits.fresh", model, 5e-5);
        loaded.detach();
        Adapters adapters = AdapterFile.read(init.resolve("adapter_config.json"), AdapterFile.LANGUAGE)
                .attach(model);
        adapters.parameters()
                .forEach((name, p) -> p.set(golden.get("init." + name).floats()));
        return adapters;
    }

    /** Saved, it is what PEFT saved. */
    @Override
    void trained(Adapters adapters) {
        Path ours = PeftGoldenTest.temp.resolve(folder.getFileName() + "-trained");
        adapters.save(ours);
        Map<String, StoredTensor> saved = Safetensors.open(ours.resolve("adapter_model.safetensors"), arena)
                .tensors();
        assertThat(saved.keySet()).isEqualTo(file().keySet());
        file().forEach((key, t) -> close("saved " + key, saved.get(key).floats(), t.floats(), 2e-4));
    }

    @Override
    void reload() {
        Decoder model = base();
        Adapters adapters = Adapters.load(model, folder);
        compareLogits("logits.final", model, 5e-5);
        assertThat(adapters.parameters().keySet()).containsExactly("prompt_encoder.embedding.weight");
        assertThatThrownBy(adapters::merge).isInstanceOf(UnsupportedOperationException.class);
        compareFiles(adapters);
    }
}
