package anneal.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.Golden;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ChatTemplateTest {
    private static final List<Message> HI = List.of(Message.user("hi"));

    @TempDir
    Path dir;

    private void write(String file, String text) throws IOException {
        Files.createDirectories(dir.resolve(file).getParent());
        Files.writeString(dir.resolve(file), text);
    }

    private String render() {
        return ChatTemplate.load(dir).orElseThrow().render(HI, ChatTemplate.Options.PROMPT);
    }

    @Test
    void chatMlIsBuiltIn() {
        List<Message> messages = List.of(Message.system("s"), Message.user("u"), Message.assistant("a"));
        assertThat(ChatTemplate.chatml().render(messages, ChatTemplate.Options.PROMPT))
                .isEqualTo("<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nu<|im_end|>\n"
                        + "<|im_start|>assistant\na<|im_end|>\n<|im_start|>assistant\n");
        Chat chat = new Chat(new ByteTokenizer("<|im_start|>", "<|im_end|>"), ChatTemplate.chatml());
        Encoded e = chat.encode("s", messages);
        assertThat(e.trainedCount())
                .as("the a and the end of the turn, by generation markers")
                .isEqualTo(2);
    }

    @Test
    void foldersHoldTemplatesInThreeWays() throws IOException {
        assertThat(ChatTemplate.load(dir)).isEmpty();
        write("tokenizer_config.json", """
                {"chat_template": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}",
                 "bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>", "pad_token": null}""");
        assertThat(render()).isEqualTo("<s>hi</s>");
        write("tokenizer_config.json", """
                {"chat_template": [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T{{ tools|length }}"},
                 {"name": "rag", "template": "R"}]}""");
        assertThat(render()).isEqualTo("D");
        ChatTemplate named = ChatTemplate.load(dir).orElseThrow();
        assertThat(named.render(HI, ChatTemplate.Options.PROMPT.withTools(List.of(Map.of("name", "f")))))
                .isEqualTo("T1");
        assertThat(named.named("rag").render(HI, ChatTemplate.Options.PROMPT)).isEqualTo("R");
        assertThatThrownBy(() -> named.named("zz"))
                .hasMessage("no chat template named 'zz', there are [default, rag, tool_use]");
        write("chat_template.jinja", "J");
        assertThat(render()).as("the file wins").isEqualTo("J");
        write("additional_chat_templates/rag.jinja", "R2");
        assertThat(ChatTemplate.load(dir).orElseThrow().named("rag").render(HI, ChatTemplate.Options.PROMPT))
                .isEqualTo("R2");
    }

    @Test
    void badFoldersAreNamed() throws IOException {
        write("tokenizer_config.json", "{\"chat_template\": 5}");
        assertThatThrownBy(this::render)
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage(dir.resolve("tokenizer_config.json")
                        + ": chat_template must be a string or a list of named templates");
        write("tokenizer_config.json", "{\"chat_template\": [{\"name\": \"a\"}]}");
        assertThatThrownBy(this::render).hasMessageEndingWith("every entry of the list needs a name and a template");
        write("tokenizer_config.json", "{\"chat_template\": ");
        assertThatThrownBy(this::render).hasMessageContaining("tokenizer_config.json: not JSON: ");
        write("tokenizer_config.json", "{\"chat_template\": \"a\\n{% nope %}\"}");
        assertThatThrownBy(this::render)
                .hasMessage("chat template 'default' of " + dir + ": template line 2: unknown tag 'nope'");
    }

    @Test
    void timeIsTheClocks() {
        ChatTemplate t = ChatTemplate.of("{{ strftime_now('%d %b %Y') }}", Map.of())
                .withClock(Clock.fixed(Instant.parse("2024-07-26T00:00:00Z"), ZoneOffset.UTC));
        assertThat(t.render(HI, ChatTemplate.Options.PROMPT)).isEqualTo("26 Jul 2024");
    }

    @Test
    void messagesShowWhatTheyHave() {
        Message m = new Message(
                "assistant", null, List.of(new Message.ToolCall("1", "f", Map.of("a", 2))), Map.of("name", "n"));
        assertThat(m.toMap().toString())
                .isEqualTo(
                        "{role=assistant, tool_calls=[{id=1, type=function, function={name=f, arguments={a=2}}}], name=n}");
        assertThatThrownBy(() -> new Message("user", null))
                .hasMessage("message of role user needs content or tool calls");
        assertThatThrownBy(() -> new Message("", "x")).hasMessage("message needs a role");
    }

    @Test
    void realTemplate() {
        Path model = Golden.shared("models/SmolLM2-135M-Instruct");
        String text = ChatTemplate.load(model).orElseThrow().render(HI, ChatTemplate.Options.PROMPT);
        assertThat(text)
                .isEqualTo(
                        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
                                + "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
    }
}
