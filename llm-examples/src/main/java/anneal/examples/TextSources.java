package anneal.examples;

import anneal.data.Jsonl;
import anneal.data.Sample;
import anneal.io.Json;
import anneal.tensor.Rng;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Makes labelled texts of files of text: short pieces from random places of each, labelled by the file's name. Whoever tells them apart
 * tells authors, topics or languages: {@code TextSources OUTPUT.jsonl PIECES WORDS FILE FILE..}, with so many pieces a file.
 */
public final class TextSources {
    private TextSources() {}

    /** Writes one {"text": .., "label": ..} a line. */
    public static void main(String[] args) throws IOException {
        int pieces = Integer.parseInt(args[1]), words = Integer.parseInt(args[2]);
        Rng rng = new Rng(1);
        List<String> lines = new ArrayList<>();
        for (String file : Arrays.asList(args).subList(3, args.length)) {
            List<String> all = words(Path.of(file));
            if (all.size() < words) {
                throw new IllegalArgumentException(file + ": has " + all.size() + " words; a piece has " + words);
            }
            for (int i = 0; i < pieces; i++) {
                int start = rng.nextInt(all.size() - words + 1);
                Map<String, Object> text = new LinkedHashMap<>();
                text.put("text", String.join(" ", all.subList(start, start + words)));
                text.put("label", Path.of(file).getFileName().toString().replaceFirst("[.].*", ""));
                lines.add(Json.line(text));
            }
        }
        Files.write(Path.of(args[0]), lines);
        System.out.println(lines.size() + " pieces of " + (args.length - 3) + " files");
    }

    private static List<String> words(Path file) {
        List<String> words = new ArrayList<>();
        for (Sample sample : Jsonl.read(file)) {
            if (!(sample instanceof Sample.Text text)) {
                throw new IllegalArgumentException(sample.name() + ": is no plain text");
            }
            words.addAll(Arrays.asList(text.text().strip().split("\\s+")));
        }
        return words;
    }
}
