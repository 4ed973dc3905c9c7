package anneal.cli;

import static anneal.cli.Cli.ok;
import static anneal.cli.Cli.with;
import static org.assertj.core.api.Assertions.assertThat;

import anneal.TinyModel;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Answers on the same prompts before and after a run, for each shape of data, with and without a chat template. */
class BeforeAfterTest {
    @TempDir
    private Path dir;

    private Path chat, base;

    @BeforeEach
    void make() throws IOException {
        chat = TinyModel.write(dir.resolve("chat"));
        base = Files.createDirectory(dir.resolve("base"));
        try (Stream<Path> files = Files.list(chat)) {
            for (Path file : files.toList()) {
                Files.copy(file, base.resolve(file.getFileName()));
            }
        }
        Files.deleteIfExists(base.resolve("chat_template.jinja"));
        Path config = base.resolve("tokenizer_config.json");
        if (Files.exists(config)) {
            Files.writeString(config, Files.readString(config).replace("chat_template", "no_template"));
        }
    }

    private void shows(Path model, String line, String prompt) throws IOException {
        Path data = Files.writeString(dir.resolve("data.jsonl"), line + "\n" + line + "\n");
        Path out = dir.resolve("run" + System.nanoTime());
        Cli run = ok(with(Cli.sft(model, data, out, 2), "--learning-rate", 0.05, "--max-seq-length", 90)
                .toArray());
        String shown = run.out().substring(run.out().indexOf("Prompt: "));
        assertThat(shown).startsWith("Prompt: " + prompt + "\n");
        assertThat(shown.lines().filter(l -> l.startsWith("  before: ") || l.startsWith("  after:  ")))
                .hasSize(4)
                .allMatch(l -> l.length() > "  before: ".length())
                .noneMatch(l -> l.contains("(none"));
    }

    @Test
    void everyShapeOfDataShowsItsPrompt() throws IOException {
        String text = "{\"text\":\"The sky is blue and the grass is green as always.\"}";
        String completion = "{\"prompt\":\"What is the\\nsum? \",\"completion\":\"It is seven.\"}";
        for (Path model : new Path[] {chat, base}) {
            shows(model, text, "The sky is blue and the");
            shows(model, completion, "What is the\\nsum?");
        }
        String instruction = "{\"instruction\":\"Name it.\",\"input\":\"sky\",\"output\":\"Blue.\"}";
        shows(chat, instruction, "Name it.\\nsky");
    }

    @Test
    void theFirstWordsLeaveSomethingToBeWritten() {
        assertThat(BeforeAfter.firstWords("one two three")).isEqualTo("one two");
        assertThat(BeforeAfter.firstWords("  a b\nc d e f g h i j k l m n o p q"))
                .isEqualTo("a b c d e f g h");
        assertThat(BeforeAfter.firstWords("天".repeat(100))).hasSize(60);
        assertThat(BeforeAfter.firstWords("")).isEmpty();
    }
}
