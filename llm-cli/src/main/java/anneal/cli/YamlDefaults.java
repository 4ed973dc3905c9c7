package anneal.cli;

import anneal.io.Json;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.dataformat.yaml.YAMLFactory;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import picocli.CommandLine;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.OptionSpec;

/** {@code --config run.yaml}: the same keys as the flags, without dashes in front; a flag on the command line wins. */
final class YamlDefaults implements CommandLine.IDefaultValueProvider {
    private static final ObjectMapper YAML =
            new ObjectMapper(new YAMLFactory()).enable(JsonParser.Feature.STRICT_DUPLICATE_DETECTION);
    private final Path file;
    private final List<String> args;
    private final Map<String, String> values;

    private YamlDefaults(Path file, List<String> args, Map<String, String> values) {
        this.file = file;
        this.args = args;
        this.values = values;
    }

    /** Reads the file named by --config in {@code args}, if any, as defaults of the command that is called. */
    static void install(CommandLine line, List<String> args) {
        Path file = file(args);
        if (file == null) {
            return;
        }
        CommandLine command = args.stream()
                .map(line.getSubcommands()::get)
                .filter(c -> c != null)
                .findFirst()
                .orElse(line);
        command.setDefaultValueProvider(new YamlDefaults(file, args, read(file, command)));
    }

    private static Path file(List<String> args) {
        for (int i = 0; i < args.size(); i++) {
            if (args.get(i).startsWith("--config=")) {
                return Path.of(args.get(i).substring("--config=".length()));
            }
            if (args.get(i).equals("--config") && i + 1 < args.size()) {
                return Path.of(args.get(i + 1));
            }
        }
        return null;
    }

    /** The values of a file by key, as text; throws if it is not YAML or has a key that is no flag of the command. */
    static Map<String, String> read(Path file, CommandLine command) {
        Map<String, Object> raw;
        try {
            raw = YAML.readValue(Files.readAllBytes(file), new TypeReference<>() {});
        } catch (JsonProcessingException e) {
            throw new IllegalArgumentException(
                    file + ": "
                            + (e.getLocation() == null
                                    ? ""
                                    : "line " + e.getLocation().getLineNr() + ": ")
                            + "not YAML with one key a line: "
                            + Json.reason(e),
                    e);
        } catch (IOException e) {
            throw new UncheckedIOException(file.toString(), e);
        }
        TreeSet<String> known = new TreeSet<>();
        command.getCommandSpec().options().forEach(o -> known.add(key(o)));
        Map<String, String> values = new LinkedHashMap<>();
        raw.forEach((key, value) -> {
            String name = key.replace('_', '-');
            if (!known.contains(name)) {
                throw new IllegalArgumentException(file + ": unknown key \"" + key + "\""
                        + Json.nearest(name, known)
                                .map(k -> ", did you mean \"" + k + "\"?")
                                .orElse(""));
            }
            if (value instanceof Map || value instanceof List) {
                throw new IllegalArgumentException(file + ": " + key + " must be one value, as after --" + name);
            }
            if (value != null) {
                values.put(name, value.toString());
            }
        });
        return values;
    }

    private static String key(OptionSpec option) {
        return option.longestName().replaceFirst("^-+", "");
    }

    /** "file: " if the value of an option comes from the file, else nothing. */
    String origin(ArgSpec arg, Object value) {
        return arg instanceof OptionSpec option && value != null && value.equals(values.get(key(option)))
                ? file + ": "
                : "";
    }

    @Override
    public String defaultValue(ArgSpec arg) {
        return arg instanceof OptionSpec option && !isSwitchedOn(option) ? values.get(key(option)) : null;
    }

    /** True for a switch that is on the command line: picocli would turn one off whose default is true. */
    private boolean isSwitchedOn(OptionSpec option) {
        return option.arity().max() == 0 && args.contains(option.longestName());
    }
}
