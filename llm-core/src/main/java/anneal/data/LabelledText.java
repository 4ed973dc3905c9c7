package anneal.data;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;

/**
 * A text and what it is called: a sample to learn classification from.
 *
 * @param name file and line, for error messages
 * @param text not blank
 * @param label its class, by name
 */
public record LabelledText(String name, String text, String label) {
    /**
     * Reads records {@code {"text": .., "label": ..}}, one a line or as a JSON array. A label is a string or a whole number;
     * other keys may stand beside them.
     *
     * @throws IllegalArgumentException if there is no record, a key is missing or of another kind, or a text is empty: names file and line
     */
    public static List<LabelledText> read(Path file) {
        if (!Files.isRegularFile(file)) {
            throw new IllegalArgumentException(file + ": no such file");
        }
        List<LabelledText> all = new ArrayList<>();
        try (JsonRecords records = new JsonRecords(file)) {
            records.forEachRemaining(r -> all.add(of(r.value(), file.getFileName() + ":" + r.line())));
        }
        if (all.isEmpty()) {
            throw new IllegalArgumentException(file + ": the dataset is empty");
        }
        return all;
    }

    private static LabelledText of(JsonNode record, String name) {
        if (!record.isObject()) {
            throw new IllegalArgumentException(name + ": must be an object with the keys text and label");
        }
        List<String> keys = new ArrayList<>();
        record.fieldNames().forEachRemaining(keys::add);
        for (String key : List.of("text", "label")) {
            require(record.hasNonNull(key), name, "has no \"" + key + "\"; its keys are " + String.join(", ", keys));
        }
        JsonNode text = record.get("text"), label = record.get("label");
        require(text.isTextual(), name, "\"text\" must be a string");
        require(!text.asText().isBlank(), name, "the text is empty");
        require(label.isTextual() || label.isIntegralNumber(), name, "\"label\" must be a string or a whole number");
        require(!label.asText().isBlank(), name, "the label is empty");
        return new LabelledText(name, text.asText(), label.asText());
    }

    private static void require(boolean holds, String name, String rule) {
        if (!holds) {
            throw new IllegalArgumentException(name + ": " + rule);
        }
    }

    /** The different labels in a fixed order: whole numbers by size, other names as a dictionary has them. */
    public static List<String> labels(List<LabelledText> texts) {
        Set<String> names = texts.stream().map(LabelledText::label).collect(Collectors.toCollection(TreeSet::new));
        return names.stream().allMatch(n -> n.matches("-?\\d{1,18}"))
                ? names.stream()
                        .sorted(Comparator.comparingLong(Long::parseLong))
                        .toList()
                : List.copyOf(names);
    }
}
