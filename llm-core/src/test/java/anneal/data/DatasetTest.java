package anneal.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.Golden;
import anneal.text.Encoded;
import anneal.text.Message;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class DatasetTest {
    @TempDir
    Path dir;

    private Path file(String name, String text) {
        try {
            return Files.writeString(dir.resolve(name), text);
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    private static List<Sample> all(Path path) {
        List<Sample> out = new ArrayList<>();
        Jsonl.read(path).forEach(out::add);
        return out;
    }

    private Sample one(String record) {
        return all(file("a.jsonl", record)).getFirst();
    }

    @Test
    void shapesAreFoundByLooking() {
        assertThat(one("{\"text\": \"t\"}")).isEqualTo(new Sample.Text("a.jsonl:1", "t"));
        assertThat(one("{\"prompt\": \"p\", \"completion\": \"c\"}"))
                .isEqualTo(new Sample.Completion("a.jsonl:1", "p", "c"));
        assertThat(one("{\"instruction\": \"i\", \"input\": \"\", \"output\": \"o\"}"))
                .isEqualTo(new Sample.Instruction("a.jsonl:1", null, List.of(), "i", "", "o"));
        Sample.Instruction full =
                (Sample.Instruction) one("{\"instruction\": \"i\", \"input\": \"x\", \"output\": \"o\", "
                        + "\"history\": [[\"q\", \"a\"]], \"system\": \"s\"}");
        assertThat(full.conversation().messages())
                .containsExactly(
                        Message.system("s"),
                        Message.user("q"),
                        Message.assistant("a"),
                        Message.user("i\nx"),
                        Message.assistant("o"));
        assertThat(
                        one(
                                "{\"messages\": [{\"role\": \"user\", \"content\": \"u\"}, {\"role\": \"assistant\", \"content\": [{\"type\": \"text\", \"text\": \"a\"}, {\"type\": \"text\", \"text\": \"b\"}]}]}"))
                .isEqualTo(new Sample.Conversation(
                        "a.jsonl:1", List.of(Message.user("u"), Message.assistant("ab")), List.of(), 0));
        assertThat(
                        one(
                                "{\"prompt\": [{\"role\": \"user\", \"content\": \"u\"}], \"completion\": [{\"role\": \"assistant\", \"content\": \"a\"}]}"))
                .isEqualTo(new Sample.Conversation(
                        "a.jsonl:1", List.of(Message.user("u"), Message.assistant("a")), List.of(), 1));
        assertThat(
                        all(
                                file(
                                        "a.jsonl",
                                        "{\"instruction\": \"i\", \"instances\": [{\"input\": \"\", \"output\": \"1\"}, {\"input\": \"x\", \"output\": \"2\"}]}")))
                .extracting(Sample::name)
                .containsExactly("a.jsonl:1 instance 1", "a.jsonl:1 instance 2");
    }

    @Test
    void shareGptWithTools() {
        Sample.Conversation c =
                (Sample.Conversation) one("{\"conversations\": [{\"from\": \"human\", \"value\": \"q\"}, "
                        + "{\"from\": \"function_call\", \"value\": \"{\\\"name\\\": \\\"f\\\", \\\"arguments\\\": {\\\"x\\\": 1}}\"}, "
                        + "{\"from\": \"observation\", \"value\": \"r\"}, {\"from\": \"gpt\", \"value\": \"a\"}], "
                        + "\"tools\": \"[{\\\"name\\\": \\\"f\\\"}]\", \"system\": \"s\"}");
        assertThat(c.messages())
                .containsExactly(
                        Message.system("s"),
                        Message.user("q"),
                        new Message(
                                "assistant", "", List.of(new Message.ToolCall(null, "f", Map.of("x", 1))), Map.of()),
                        Message.tool("r"),
                        Message.assistant("a"));
        assertThat(c.tools()).containsExactly(Map.of("type", "function", "function", Map.of("name", "f")));
    }

    @Test
    void openAiToolCalls() {
        Sample.Conversation c = (Sample.Conversation) one("{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}, "
                + "{\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"id\": \"1\", \"type\": \"function\", \"function\": {\"name\": \"f\", \"arguments\": \"{\\\"x\\\": 1}\"}}]}, "
                + "{\"role\": \"tool\", \"content\": \"r\", \"tool_call_id\": \"1\"}]}");
        assertThat(c.messages().get(1).toolCalls()).containsExactly(new Message.ToolCall("1", "f", Map.of("x", 1)));
        assertThat(c.messages().get(2).more()).isEqualTo(Map.of("tool_call_id", "1"));
    }

    @Test
    void preferences() {
        Sample.Preference p = (Sample.Preference)
                one(
                        "{\"conversations\": [{\"from\": \"human\", \"value\": \"q\"}], "
                                + "\"chosen\": {\"from\": \"gpt\", \"value\": \"good\"}, \"rejected\": {\"from\": \"gpt\", \"value\": \"bad\"}}");
        List<Message> prompt = List.of(Message.user("q"));
        List<Message> good = List.of(Message.assistant("good"));
        List<Message> bad = List.of(Message.assistant("bad"));
        assertThat(p).isEqualTo(new Sample.Preference("a.jsonl:1", prompt, good, bad, List.of()));
        assertThat(one("{\"prompt\": \"q\", \"chosen\": \"good\", \"rejected\": \"bad\"}"))
                .isEqualTo(p);
        assertThat(one("{\"instruction\": \"q\", \"input\": \"\", \"chosen\": \"good\", \"rejected\": \"bad\"}"))
                .isEqualTo(p);
        assertThat(
                        one(
                                "{\"chosen\": [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": \"assistant\", \"content\": \"good\"}], "
                                        + "\"rejected\": [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": \"assistant\", \"content\": \"bad\"}]}"))
                .isEqualTo(p);
        assertThat(one("{\"prompt\": \"q\", \"completion\": \"good\", \"label\": true}"))
                .isEqualTo(new Sample.Rated(
                        "a.jsonl:1", List.of(Message.user("q"), Message.assistant("good")), List.of(), true));
    }

    @Test
    void arraysLinesFoldersAndText() throws IOException {
        String array = "\uFEFF\n [\n {\"text\": \"a\"},\n\n {\"text\":\n \"b\"}]\n";
        assertThat(all(file("x.json", array)))
                .containsExactly(new Sample.Text("x.json:3", "a"), new Sample.Text("x.json:5", "b"));
        assertThat(all(file("y.json", "{\"text\": \"c\"}\n\n  \r\n{\"text\": \"d\"}")))
                .as("lines in a .json file")
                .containsExactly(new Sample.Text("y.json:1", "c"), new Sample.Text("y.json:4", "d"));
        file("z.txt", "one\ntwo\n");
        file("readme.md", "ignored");
        Files.createDirectory(dir.resolve("sub"));
        file("sub/w.jsonl", "{\"text\": \"e\"}");
        assertThat(all(dir))
                .extracting(s -> ((Sample.Text) s).text())
                .containsExactly("e", "a", "b", "c", "d", "one\ntwo\n");
    }

    @Test
    void largeTextIsCutAtLineEnds() {
        String line = "0123456789 é\n";
        String text = line.repeat(1 << 19);
        List<Sample> parts = all(file("t.txt", text));
        assertThat(parts).hasSize(2);
        StringBuilder joined = new StringBuilder();
        for (Sample p : parts) {
            assertThat(((Sample.Text) p).text()).endsWith("\n");
            joined.append(((Sample.Text) p).text());
        }
        assertThat(joined.toString()).isEqualTo(text);
        long firstLines = ((Sample.Text) parts.getFirst())
                .text()
                .chars()
                .filter(c -> c == '\n')
                .count();
        assertThat(parts.getLast().name()).isEqualTo("t.txt:" + (firstLines + 1));
        assertThat(all(file("u.txt", "x".repeat(9_000_000)))).hasSize(3);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "{\"text\": \"a\"}\\n{\"text\": |a.jsonl:2: malformed JSON: Unexpected end-of-input",
                "{\"text\": \"a\"}\\n\\n{\"text\": \"b\"} x|a.jsonl:3: malformed JSON: Unrecognized token 'x'",
                "[{\"text\": \"a\"},\\n{\"text\" \"b\"}]|a.jsonl:2: malformed JSON: Unexpected character ('\"'",
                "[{\"text\": \"a\"},\\n|a.jsonl:2: malformed JSON: Unexpected end-of-input",
                "[{\"text\": \"a\"}]\\n[]|a.jsonl:2: text after the end of the list",
                "{\"a\": 1, \"b\": 2}|a.jsonl:1: keys [a, b] are none of the accepted shapes {text}, {prompt, completion}",
                "[1]|a.jsonl:1: expected a JSON object, found a number; accepted are {text}",
                "{\"text\": 5}|a.jsonl:1: \"text\" must be a string, not a number",
                "{\"instruction\": \"i\", \"output\": [1]}|a.jsonl:1: \"output\" must be a string, not a list",
                "{\"messages\": []}|a.jsonl:1: \"messages\" is empty",
                "{\"messages\": 5}|a.jsonl:1: \"messages\" must be a string, a message or a list of messages, not a number",
                "{\"messages\": [{\"r\": 1}]}|a.jsonl:1: \"messages\" must be messages of {role, content} or {from, value}, not an object",
                "{\"messages\": [{\"role\": \"user\", \"content\": null}]}|a.jsonl:1: message of role user needs content or tool calls",
                "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image\"}]}]}|a.jsonl:1: content part of type \"image\" is not text",
                "{\"conversations\": [{\"from\": \"martian\", \"value\": \"x\"}]}|a.jsonl:1: \"from\": \"martian\" is none of human, gpt, system",
                "{\"conversations\": [{\"from\": \"function_call\", \"value\": \"f(x)\"}]}|a.jsonl:1: \"function_call\" holds malformed JSON",
                "{\"conversations\": [{\"from\": \"function_call\", \"value\": \"{}\"}]}|a.jsonl:1: tool call without a name",
                "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}], \"tools\": \"[\"}|a.jsonl:1: \"tools\" holds malformed JSON",
                "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}], \"label\": 3}|a.jsonl:1: \"label\" must be true or false, not a number",
                "{\"chosen\": \"a\", \"rejected\": \"b\"}|a.jsonl:1: \"chosen\" and \"rejected\" share no prompt",
                "{\"instruction\": \"i\", \"output\": \"o\", \"history\": [[\"q\"]]}|a.jsonl:1: \"history\" must be a list of [question, answer] pairs",
            })
    void badRecordsAreNamed(String text, String message) {
        Path path = file("a.jsonl", text.replace("\\n", "\n"));
        assertThatThrownBy(() -> all(path))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith(message);
    }

    @Test
    void badFilesAreNamed() throws IOException {
        assertThatThrownBy(() -> all(dir.resolve("no.jsonl")))
                .hasMessage(dir.resolve("no.jsonl") + ": no such file or folder");
        assertThatThrownBy(() -> all(dir))
                .hasMessage(dir + ": the folder has no file that ends in one of [.jsonl, .json, .ndjson, .txt]");
        for (String empty : List.of("", "\n \n", "[]", " [ ]\n")) {
            Path path = file("e.jsonl", empty);
            assertThatThrownBy(() -> all(path))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage(path + ": the dataset is empty");
        }
        Path latin = dir.resolve("l.jsonl");
        Files.write(latin, "{\"text\": \"\u00e9\"}".getBytes(StandardCharsets.ISO_8859_1));
        assertThatThrownBy(() -> all(latin)).hasMessage("l.jsonl:1: not UTF-8 text (at or soon after this line)");
        Path text = file("c.jsonl", "{\"text\": \"a\"}");
        assertThatThrownBy(() -> Jsonl.chats(text).iterator().next())
                .hasMessage(
                        "c.jsonl:1: is plain text, where a conversation or an instruction with its answer is expected");
    }

    @Test
    void masks() {
        SampleEncoder plain = SampleEncoder.of(Fixtures.TOKENIZER);
        SampleEncoder chat = SampleEncoder.of(Fixtures.CHAT);
        Encoded text = plain.encode(new Sample.Text("n", "ab"));
        assertThat(Fixtures.text(text.ids())).isEqualTo("ab<eos>");
        assertThat(text.trained()).containsExactly(true, true, true);
        Sample completion = new Sample.Completion("n", "pé", "ç");
        assertThat(plain.encode(completion).trained()).containsExactly(false, false, false, true, true, true);
        assertThat(Fixtures.text(chat.encode(completion).ids()))
                .isEqualTo("<|im_start|>user\npé<|im_end|>\n<|im_start|>assistant\nç<|im_end|>\n");
        assertThat(chat.encode(completion).trainedCount()).isEqualTo(3);
        assertThat(plain.encode(new Sample.Completion("n", "p", "")).trained())
                .as("an empty completion teaches where to stop")
                .containsExactly(false, true);
    }

    @Test
    void samplesThatCannotBeTrainedAreNamed() {
        SampleEncoder plain = SampleEncoder.of(Fixtures.TOKENIZER);
        Sample.Conversation talk = new Sample.Conversation("n:4", List.of(Message.user("u")), List.of(), 0);
        assertThatThrownBy(() -> plain.encode(talk)).hasMessage("n:4: is a conversation, which needs a chat template");
        assertThatThrownBy(() -> SampleEncoder.of(Fixtures.CHAT).encode(talk))
                .hasMessageStartingWith("n:4: no token is trained");
        assertThatThrownBy(() -> plain.encode(new Sample.Text("n:5", ""))).hasMessage("n:5: no token is trained");
        assertThatThrownBy(() -> plain.encode(new Sample.Instruction("n:6", "s", List.of(), "i", "", "o")))
                .hasMessage("n:6: has a system text or history, which needs a chat template");
        assertThatThrownBy(() -> plain.encode(new Sample.Rated("n:7", List.of(Message.user("u")), List.of(), true)))
                .hasMessage("n:7: is a rated answer for preference training, which supervised training cannot use");
        assertThatThrownBy(() -> plain.encode(new Sample.Preference("n:8", List.of(), List.of(), List.of(), List.of())))
                .hasMessage("n:8: is a pair for preference training, which supervised training cannot use");
    }

    @Test
    void everyRealFileIsRead() throws IOException {
        Path data = Golden.shared("data");
        try (var files = Files.list(data.resolve("sft"))) {
            for (Path f : files.sorted().toList()) {
                EncodedDataset encoded = Jsonl.chats(f).encode(Fixtures.CHAT);
                assertThat(encoded.size()).as(f.toString()).isGreaterThan(50);
                assertThat(encoded.trainedTokens())
                        .isGreaterThan(encoded.size())
                        .isLessThan(encoded.tokens());
            }
        }
        try (var files = Files.list(data.resolve("preference"))) {
            for (Path f : files.sorted().toList()) {
                assertThat(all(f))
                        .hasSizeGreaterThan(50)
                        .allMatch(s -> s instanceof Sample.Preference || s instanceof Sample.Rated);
            }
        }
        assertThat(Jsonl.read(data.resolve("text")).encode(Fixtures.TOKENIZER).tokens())
                .isGreaterThan(2_500_000);
    }
}
