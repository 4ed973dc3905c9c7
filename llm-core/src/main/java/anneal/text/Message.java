package anneal.text;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * One message of a conversation.
 *
 * @param role who speaks: usually system, user, assistant or tool; templates decide which they know
 * @param content what is said; null if the message is nothing but tool calls
 * @param toolCalls functions the assistant asks to be called, in order
 * @param more further keys a template may read (name, tool_call_id, reasoning_content ...)
 */
public record Message(String role, String content, List<ToolCall> toolCalls, Map<String, Object> more) {
    /**
     * A function the assistant asks to be called.
     *
     * @param id how the answer refers to it; may be null
     * @param name the function
     * @param arguments by name; values as JSON has them
     */
    public record ToolCall(String id, String name, Map<String, Object> arguments) {
        public ToolCall {
            if (name == null || arguments == null) {
                throw new IllegalArgumentException("tool call needs a name and arguments");
            }
        }

        /** As templates expect it: {@code {"type": "function", "function": {"name", "arguments"}}}. */
        public Map<String, Object> toMap() {
            Map<String, Object> function = new LinkedHashMap<>();
            function.put("name", name);
            function.put("arguments", arguments);
            Map<String, Object> map = new LinkedHashMap<>();
            if (id != null) {
                map.put("id", id);
            }
            map.put("type", "function");
            map.put("function", function);
            return map;
        }
    }

    public Message {
        if (role == null || role.isEmpty()) {
            throw new IllegalArgumentException("message needs a role");
        }
        if (content == null && toolCalls.isEmpty()) {
            throw new IllegalArgumentException("message of role " + role + " needs content or tool calls");
        }
        toolCalls = List.copyOf(toolCalls);
    }

    /** A message that only says something. */
    public Message(String role, String content) {
        this(role, content, List.of(), Map.of());
    }

    /** What the model is told to be. */
    public static Message system(String content) {
        return new Message("system", content);
    }

    /** What the user says. */
    public static Message user(String content) {
        return new Message("user", content);
    }

    /** What the model says. */
    public static Message assistant(String content) {
        return new Message("assistant", content);
    }

    /** What a called function gave back. */
    public static Message tool(String content) {
        return new Message("tool", content);
    }

    /** True for what the model says itself. */
    public boolean isAssistant() {
        return role.equals("assistant");
    }

    /** The same message saying something else. */
    public Message withContent(String newContent) {
        return new Message(role, newContent, toolCalls, more);
    }

    /** As templates see it; what is absent is left out, as transformers does. */
    public Map<String, Object> toMap() {
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("role", role);
        if (content != null) {
            map.put("content", content);
        }
        if (!toolCalls.isEmpty()) {
            List<Object> calls = new ArrayList<>();
            toolCalls.forEach(call -> calls.add(call.toMap()));
            map.put("tool_calls", calls);
        }
        map.putAll(more);
        return map;
    }
}
