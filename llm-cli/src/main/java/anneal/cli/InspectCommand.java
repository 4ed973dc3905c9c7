package anneal.cli;

import anneal.io.Gguf;
import anneal.io.GgufArray;
import anneal.io.Json;
import anneal.io.Safetensors;
import anneal.io.StoredTensor;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code anneal inspect}: what is in a model folder, an adapter, a .gguf or a .safetensors file. */
@Command(
        name = "inspect",
        description = "Shows what a model folder, adapter, .gguf or .safetensors file holds.",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        footer = {"", "Examples:", "  anneal inspect model.gguf", "  anneal inspect runs/mine --tensors"})
final class InspectCommand implements Callable<Integer> {
    private static final int SHORT = 100;

    @Parameters(paramLabel = "PATH", description = "File or folder.")
    Path path;

    @Option(names = "--tensors", description = "List every tensor.")
    boolean tensors;

    @Option(names = "--config", paramLabel = "FILE", description = "YAML file with the same keys; flags win.")
    Path config;

    @Spec
    CommandSpec spec;

    private PrintWriter out;

    @Override
    public Integer call() {
        out = spec.commandLine().getOut();
        if (!Files.exists(path)) {
            throw new IllegalArgumentException(path + ": no such file or folder");
        }
        if (Files.isDirectory(path)) {
            folder();
        } else if (path.toString().endsWith(".gguf")) {
            gguf();
        } else if (path.toString().endsWith(".safetensors")) {
            safetensors(path);
        } else {
            throw new IllegalArgumentException(path + ": neither a folder nor a .gguf or .safetensors file");
        }
        return 0;
    }

    private void folder() {
        List<Path> files;
        try (Stream<Path> all = Files.list(path)) {
            files = all.filter(Files::isRegularFile).sorted().toList();
        } catch (IOException e) {
            throw new UncheckedIOException(path.toString(), e);
        }
        for (String name : List.of("config.json", "adapter_config.json")) {
            Path file = path.resolve(name);
            if (Files.exists(file)) {
                out.println(name);
                new TreeMap<>(Json.read(file).map()).forEach(this::entry);
            }
        }
        List<Path> weights = files.stream()
                .filter(f -> f.toString().endsWith(".safetensors"))
                .toList();
        if (weights.isEmpty() && files.stream().noneMatch(f -> f.toString().endsWith("config.json"))) {
            throw new IllegalArgumentException(
                    path + ": holds neither config.json, adapter_config.json nor a .safetensors file");
        }
        weights.forEach(this::safetensors);
    }

    private void safetensors(Path file) {
        try (Arena arena = Arena.ofShared()) {
            out.println(file.getFileName());
            summary(Safetensors.open(file, arena).tensors().values());
        }
    }

    private void gguf() {
        try (Arena arena = Arena.ofShared()) {
            Gguf file = Gguf.open(path, arena);
            out.println("metadata");
            file.metadata().forEach(this::entry);
            out.println("tensors");
            summary(file.tensors().values());
        }
    }

    private void entry(String key, Object value) {
        String text = switch (value) {
            case GgufArray a -> "[" + a.size() + " entries]";
            case List<?> l when l.size() > 8 -> "[" + l.size() + " entries]";
            case null -> "null";
            default -> value.toString();
        };
        text = text.replace("\n", "\\n");
        out.printf("  %-44s %s%n", key, text.length() > SHORT ? text.substring(0, SHORT) + " ..." : text);
    }

    private void summary(Collection<StoredTensor> all) {
        Map<String, long[]> byType = new TreeMap<>();
        long numbers = 0;
        for (StoredTensor t : all) {
            long n = Arrays.stream(t.shape()).reduce(1, Math::multiplyExact);
            long[] sum = byType.computeIfAbsent(t.dtype().name(), k -> new long[3]);
            sum[0]++;
            sum[1] += n;
            sum[2] += t.data().byteSize();
            numbers += n;
            if (tensors) {
                out.printf("  %-60s %-5s %s%n", t.name(), t.dtype(), Arrays.toString(t.shape()));
            }
        }
        out.printf(Locale.ROOT, "  %d tensors, %,d numbers%n", all.size(), numbers);
        byType.forEach((type, sum) -> out.printf(
                Locale.ROOT, "  %-6s %4d tensors  %,14d numbers  %,14d bytes%n", type, sum[0], sum[1], sum[2]));
    }
}
