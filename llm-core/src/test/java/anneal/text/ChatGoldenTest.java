package anneal.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.Golden;
import anneal.text.jinja.Template;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Chat templates and Jinja features against what transformers renders (golden text/chat). */
class ChatGoldenTest {
    private static final ObjectMapper JSON = new ObjectMapper();
    private final Path folder = Golden.root().resolve("text/chat");

    private JsonNode read(String file) throws IOException {
        return JSON.readTree(folder.resolve(file).toFile());
    }

    @SuppressWarnings("unchecked")
    private static <T> T value(JsonNode node) {
        return (T) JSON.convertValue(node, Object.class);
    }

    @Test
    void everyFileOfTheFolderIsKnown() throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            assertThat(files.map(f -> f.getFileName().toString()))
                    .containsExactlyInAnyOrder("templates.json", "cases.json", "jinja.json");
        }
    }

    @Test
    void features() throws IOException {
        int cases = 0;
        for (JsonNode c : read("jinja.json")) {
            String template = c.get("template").textValue();
            assertThat(Template.parse(template).render(value(c.get("context"))))
                    .as(template)
                    .isEqualTo(c.get("expected").textValue());
            cases++;
        }
        Golden.report("text/chat/jinja", cases, 0);
    }

    @Test
    void conversations() throws IOException {
        Map<String, ChatTemplate> templates = new HashMap<>();
        read("templates.json").properties().forEach(e -> {
            Map<String, String> tokens = new HashMap<>();
            for (String token : List.of("bos", "eos")) {
                String text = e.getValue().get(token).textValue();
                if (!text.isEmpty()) {
                    tokens.put(token + "_token", text);
                }
            }
            templates.put(
                    e.getKey(), ChatTemplate.of(e.getValue().get("template").textValue(), tokens));
        });
        JsonNode all = read("cases.json");
        List<Map<String, Object>> tools = value(all.get("tools"));
        int cases = 0;
        for (JsonNode c : all.get("cases")) {
            List<Map<String, Object>> messages =
                    value(all.get("conversations").get(c.get("conversation").intValue()));
            ChatTemplate.Options options = new ChatTemplate.Options(
                    c.get("add_generation_prompt").booleanValue(),
                    c.get("tools").booleanValue() ? tools : List.of(),
                    value(c.get("extra")));
            ChatTemplate template = templates.get(c.get("template").textValue());
            if (c.has("error")) {
                assertThatThrownBy(() -> template.render(messages(messages), options))
                        .as(c.toString())
                        .isInstanceOf(IllegalArgumentException.class)
                        .hasMessage(c.get("error").textValue());
            } else {
                assertThat(template.render(messages(messages), options))
                        .as(c.toString())
                        .isEqualTo(c.get("rendered").textValue());
            }
            cases++;
        }
        Golden.report("text/chat/cases", cases, 0);
    }

    @SuppressWarnings("unchecked")
    private static List<Message> messages(List<Map<String, Object>> maps) {
        List<Message> out = new ArrayList<>();
        for (Map<String, Object> map : maps) {
            List<Message.ToolCall> calls = new ArrayList<>();
            for (Object call : (List<Object>) map.getOrDefault("tool_calls", List.of())) {
                Map<String, Object> function = (Map<String, Object>) ((Map<String, Object>) call).get("function");
                calls.add(new Message.ToolCall(
                        null, (String) function.get("name"), (Map<String, Object>) function.get("arguments")));
            }
            out.add(new Message((String) map.get("role"), (String) map.get("content"), calls, Map.of()));
        }
        return out;
    }
}
