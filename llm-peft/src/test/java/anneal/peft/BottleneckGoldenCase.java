package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.io.Json;
import anneal.io.Safetensors;
import anneal.io.StoredTensor;
import anneal.model.Decoder;
import anneal.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** Bottleneck adapters: recorded by the adapters library, in its own files, where it could write them. */
final class BottleneckGoldenCase extends PeftGoldenTest.Case {
    private final Path library;

    BottleneckGoldenCase(Path folder, Arena arena) {
        super(folder, arena);
        library = folder.resolve("adapter");
    }

    @Override
    String prefix() {
        return "";
    }

    @Override
    Map<String, StoredTensor> file() {
        return Map.of();
    }

    /** The recorded configuration as a file, read and attached, with the recorded first numbers. */
    @Override
    Adapters fresh(Decoder model) {
        Path config = PeftGoldenTest.temp.resolve(folder.getFileName() + ".json");
        Json.write(
                config,
                Map.of(
                        "name",
                        "a",
                        "version",
                        "adapters.1.3.0",
                        "config",
                        facts.map().get("config")));
        Adapters adapters = AdapterFile.read(config, AdapterFile.LANGUAGE).attach(model);
        fill(adapters, "init.");
        return adapters;
    }

    private void fill(Adapters adapters, String start) {
        adapters.parameters()
                .forEach((name, p) -> p.set(golden.get(start + name).floats()));
    }

    @Override
    void reload() throws IOException {
        Path ours = PeftGoldenTest.temp.resolve(folder.getFileName().toString());
        if (Files.exists(library)) {
            Decoder model = base();
            Adapters adapters = Adapters.load(model, library);
            compareLogits("logits.final", model, 5e-5);
            adapters.save(ours);
            compareWithLibrary(ours);
        } else {
            Adapters adapters = fresh(base());
            fill(adapters, "final.");
            adapters.save(ours);
            Decoder model = base();
            Adapters again = Adapters.load(model, ours);
            compareLogits("logits.final", model, 5e-5);
            again.parameters()
                    .forEach((name, p) -> assertThat(p.toArray())
                            .as(name)
                            .containsExactly(golden.get("final." + name).floats()));
            assertThat(again.parameters().values()).noneMatch(Tensor::tracked);
        }
    }

    /** File by file, key by key, number by number. */
    private void compareWithLibrary(Path ours) throws IOException {
        assertThat(names(ours)).isEqualTo(names(library));
        for (String name : names(library)) {
            Path a = ours.resolve(name), b = library.resolve(name);
            if (name.endsWith(".json")) {
                assertThat(Json.read(a).map()).as(name).isEqualTo(Json.read(b).map());
            } else {
                Map<String, StoredTensor> x = Safetensors.open(a, arena).tensors();
                Map<String, StoredTensor> y = Safetensors.open(b, arena).tensors();
                assertThat(x.keySet()).as(name).isEqualTo(y.keySet());
                y.forEach((key, t) -> {
                    assertThat(x.get(key).shape()).as(key).isEqualTo(t.shape());
                    assertThat(x.get(key).floats()).as(key).containsExactly(t.floats());
                });
            }
        }
    }

    private static List<String> names(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.map(f -> f.getFileName().toString()).sorted().toList();
        }
    }
}
