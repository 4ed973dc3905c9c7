package anneal.data;

import anneal.text.Message;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** One sample of a file, before it is encoded. */
public sealed interface Sample {
    /** File and line, for error messages. */
    String name();

    /** A document: every token is trained. */
    record Text(String name, String text) implements Sample {}

    /** A plain prompt and what follows it; only the completion is trained. */
    record Completion(String name, String prompt, String completion) implements Sample {}

    /**
     * An instruction as in Alpaca's files.
     *
     * @param system may be null
     * @param history earlier turns, user and assistant in turn; usually empty
     * @param input what the instruction is about; may be empty
     * @param output the answer, trained
     */
    record Instruction(
            String name, String system, List<Message> history, String instruction, String input, String output)
            implements Sample {
        /** As turns of a chat: instruction, newline, input is what the user says. */
        public Conversation conversation() {
            List<Message> messages = new ArrayList<>();
            if (system != null && !system.isEmpty()) {
                messages.add(Message.system(system));
            }
            messages.addAll(history);
            messages.add(Message.user(input.isEmpty() ? instruction : instruction + "\n" + input));
            messages.add(Message.assistant(output));
            return new Conversation(name, messages, List.of(), 0);
        }
    }

    /**
     * A conversation.
     *
     * @param tools JSON schemas of the functions the assistant may ask for
     * @param from the first message that may be trained
     */
    record Conversation(String name, List<Message> messages, List<Map<String, Object>> tools, int from)
            implements Sample {}

    /** A conversation with a better and a worse way to go on, for preference training. */
    record Preference(
            String name,
            List<Message> prompt,
            List<Message> chosen,
            List<Message> rejected,
            List<Map<String, Object>> tools)
            implements Sample {}

    /** A conversation whose last answer is called good or bad, for KTO. */
    record Rated(String name, List<Message> messages, List<Map<String, Object>> tools, boolean good)
            implements Sample {}
}
