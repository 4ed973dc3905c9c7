package anneal.cli;

import anneal.io.AtomicFile;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.dataformat.yaml.YAMLFactory;
import com.fasterxml.jackson.dataformat.yaml.YAMLGenerator;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import picocli.CommandLine.Model.CommandSpec;

/** config.yaml of a run folder: the flags that the run was made with. */
final class RunConfig {
    static final String NAME = "config.yaml";

    private RunConfig() {}

    /** Writes all options of a command with the values in force: the file that --config reads. */
    static void write(Path dir, CommandSpec command) {
        YAMLFactory yaml = new YAMLFactory()
                .disable(YAMLGenerator.Feature.WRITE_DOC_START_MARKER)
                .enable(YAMLGenerator.Feature.MINIMIZE_QUOTES);
        Path file = dir.resolve(NAME);
        try {
            AtomicFile.write(file, new ObjectMapper(yaml).writeValueAsBytes(values(command)));
        } catch (IOException e) {
            throw new UncheckedIOException(file.toString(), e);
        }
    }

    private static Map<String, Object> values(CommandSpec command) {
        Map<String, Object> values = new TreeMap<>();
        command.options().stream()
                .filter(o -> !o.usageHelp() && !o.versionHelp() && o.getValue() != null)
                .filter(o ->
                        !o.longestName().equals("--config") && !o.longestName().equals("--resume"))
                .forEach(o -> values.put(o.longestName().replaceFirst("^-+", ""), plain(o.getValue())));
        return values;
    }

    private static Object plain(Object value) {
        return value instanceof Number || value instanceof Boolean ? value : value.toString();
    }
}
