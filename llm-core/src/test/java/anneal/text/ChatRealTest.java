package anneal.text;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.Golden;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

/** A real tokenizer and its own template against the prompts that transformers made (golden real). */
class ChatRealTest {
    @Test
    void promptsAreTransformers() throws IOException {
        Path golden = Golden.root().resolve("real/golden.json");
        Assumptions.assumeTrue(Files.exists(golden), "no golden/real: pass -Danneal.golden=DIR");
        Path model = Golden.shared("models/SmolLM2-135M-Instruct");
        Chat chat = new Chat(Tokenizers.load(model), ChatTemplate.load(model).orElseThrow());
        int cases = 0;
        for (JsonNode c : new ObjectMapper().readTree(golden.toFile()).get("chats")) {
            List<Message> messages = new ArrayList<>();
            c.get("messages")
                    .forEach(m -> messages.add(new Message(
                            m.get("role").textValue(), m.get("content").textValue())));
            assertThat(chat.template().render(messages, ChatTemplate.Options.PROMPT))
                    .isEqualTo(c.get("rendered").textValue());
            int[] prompt = chat.prompt(messages);
            assertThat(prompt).isEqualTo(new ObjectMapper().convertValue(c.get("ids"), int[].class));
            messages.add(Message.assistant("Yes, <|im_end|> indeed."));
            Encoded e = chat.encode("s", messages);
            // The prompt, untrained, then the answer with the token that ends the turn and the newline after it.
            assertThat(Arrays.copyOf(e.ids(), prompt.length)).isEqualTo(prompt);
            for (int i = 0; i < e.length(); i++) {
                assertThat(e.trained()[i]).isEqualTo(i >= prompt.length);
            }
            int[] answer = Arrays.copyOfRange(e.ids(), prompt.length, e.length());
            assertThat(chat.tokenizer().decode(answer, false)).isEqualTo("Yes, <|im_end|> indeed.<|im_end|>\n");
            assertThat(Arrays.stream(answer).filter(chat.tokenizer()::isSpecial))
                    .hasSize(1);
            cases++;
        }
        Golden.report("real/chats", cases, 0);
    }
}
