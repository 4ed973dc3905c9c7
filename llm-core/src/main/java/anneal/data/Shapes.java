package anneal.data;

import anneal.data.Sample.Completion;
import anneal.data.Sample.Conversation;
import anneal.data.Sample.Instruction;
import anneal.data.Sample.Preference;
import anneal.data.Sample.Rated;
import anneal.data.Sample.Text;
import anneal.io.Json;
import anneal.text.Message;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Finds out by its keys what a JSON record is, and reads it. */
final class Shapes {
    static final String ACCEPTED = "{text}, {prompt, completion}, {instruction, input, output}, {messages}, "
            + "{conversations: [{from, value}]}, {instruction, instances}, {prompt or messages, chosen, rejected}, "
            + "{messages, label}";

    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Set<String> USER = Set.of("human", "user");
    private static final Set<String> ASSISTANT = Set.of("gpt", "assistant", "bot", "chatgpt", "model");
    private static final Set<String> TOOL = Set.of("observation", "tool", "function_response", "tool_response");
    private static final Set<String> CALL = Set.of("function_call", "tool_call");

    private final JsonNode record;
    private final String name;

    private Shapes(JsonNode record, String name) {
        this.record = record;
        this.name = name;
    }

    /** The samples of one record: one, or one per instance of a seed task. */
    static List<Sample> samples(JsonNode record, String name) {
        if (!record.isObject()) {
            throw new IllegalArgumentException(
                    name + ": expected a JSON object, found " + kind(record) + "; accepted are " + ACCEPTED);
        }
        return new Shapes(record, name).samples();
    }

    private List<Sample> samples() {
        if (has("chosen") && has("rejected")) {
            return List.of(preference());
        }
        String label = has("label") ? "label" : has("kto_tag") ? "kto_tag" : null;
        if (label != null && (has("messages") || has("conversations") || has("prompt"))) {
            return List.of(rated(label));
        }
        if (has("messages") || has("conversations")) {
            return List.of(new Conversation(name, conversation(), tools(), 0));
        }
        if (has("instruction") && has("output")) {
            return List.of(instruction(record.get("instruction"), record, ""));
        }
        if (has("instruction") && has("instances")) {
            return instances();
        }
        if (has("prompt") && has("completion")) {
            return List.of(completion());
        }
        if (has("text")) {
            return List.of(new Text(name, text(record, "text")));
        }
        List<String> keys = new ArrayList<>();
        record.fieldNames().forEachRemaining(keys::add);
        throw new IllegalArgumentException(name + ": keys " + keys + " are none of the accepted shapes " + ACCEPTED);
    }

    private boolean has(String key) {
        return record.hasNonNull(key);
    }

    private IllegalArgumentException wrong(String key, String expected, JsonNode found) {
        return new IllegalArgumentException(name + ": \"" + key + "\" must be " + expected + ", not " + kind(found));
    }

    private static String kind(JsonNode node) {
        return switch (node.getNodeType()) {
            case MISSING -> "absent";
            case NULL -> "null";
            case ARRAY -> "a list";
            case OBJECT -> "an object";
            case STRING -> "a string";
            case BOOLEAN -> "a boolean";
            default -> "a number";
        };
    }

    private String text(JsonNode object, String key) {
        JsonNode value = object.path(key);
        if (!value.isTextual()) {
            throw wrong(key, "a string", value);
        }
        return value.textValue();
    }

    private String optionalText(JsonNode object, String key) {
        return object.hasNonNull(key) ? text(object, key) : "";
    }

    private Sample completion() {
        if (record.get("prompt").isTextual() && record.get("completion").isTextual()) {
            return new Completion(name, text(record, "prompt"), text(record, "completion"));
        }
        List<Message> messages = turns(record.get("prompt"), "prompt", "user");
        int from = messages.size();
        messages.addAll(turns(record.get("completion"), "completion", "assistant"));
        return new Conversation(name, messages, tools(), from);
    }

    private Instruction instruction(JsonNode instruction, JsonNode answer, String suffix) {
        if (!instruction.isTextual()) {
            throw wrong("instruction", "a string", instruction);
        }
        return new Instruction(
                name + suffix,
                has("system") ? text(record, "system") : null,
                history(),
                instruction.textValue(),
                optionalText(answer, "input"),
                text(answer, "output"));
    }

    private List<Message> history() {
        List<Message> messages = new ArrayList<>();
        JsonNode history = record.path("history");
        if (history.isMissingNode() || history.isNull()) {
            return messages;
        }
        for (JsonNode pair : history) {
            if (pair.size() != 2 || !pair.path(0).isTextual() || !pair.path(1).isTextual()) {
                throw wrong("history", "a list of [question, answer] pairs", pair);
            }
            messages.add(Message.user(pair.get(0).textValue()));
            messages.add(Message.assistant(pair.get(1).textValue()));
        }
        return messages;
    }

    private List<Sample> instances() {
        JsonNode instances = record.get("instances");
        if (!instances.isArray()) {
            throw wrong("instances", "a list", instances);
        }
        List<Sample> out = new ArrayList<>();
        for (JsonNode instance : instances) {
            String suffix = instances.size() == 1 ? "" : " instance " + (out.size() + 1);
            out.add(instruction(record.get("instruction"), instance, suffix));
        }
        return out;
    }

    private Sample preference() {
        List<Message> prompt = new ArrayList<>();
        if (has("messages") || has("conversations")) {
            prompt.addAll(conversation());
        } else if (has("prompt")) {
            system(prompt);
            prompt.addAll(turns(record.get("prompt"), "prompt", "user"));
        } else if (has("instruction")) {
            List<Message> asked = new Instruction(
                            name,
                            has("system") ? text(record, "system") : null,
                            history(),
                            text(record, "instruction"),
                            optionalText(record, "input"),
                            "")
                    .conversation()
                    .messages();
            prompt.addAll(asked.subList(0, asked.size() - 1));
        }
        List<Message> chosen = turns(record.get("chosen"), "chosen", "assistant");
        List<Message> rejected = turns(record.get("rejected"), "rejected", "assistant");
        if (prompt.isEmpty()) {
            // Both are whole conversations: what they share is the prompt.
            int shared = 0;
            while (shared < Math.min(chosen.size(), rejected.size()) - 1
                    && chosen.get(shared).equals(rejected.get(shared))) {
                shared++;
            }
            prompt.addAll(chosen.subList(0, shared));
            chosen = chosen.subList(shared, chosen.size());
            rejected = rejected.subList(shared, rejected.size());
        }
        if (prompt.isEmpty()) {
            throw new IllegalArgumentException(
                    name + ": \"chosen\" and \"rejected\" share no prompt, and there is none beside them");
        }
        return new Preference(name, prompt, chosen, rejected, tools());
    }

    private Sample rated(String label) {
        JsonNode good = record.get(label);
        if (!good.isBoolean()) {
            throw wrong(label, "true or false", good);
        }
        List<Message> messages = new ArrayList<>();
        if (has("messages") || has("conversations")) {
            messages.addAll(conversation());
        } else {
            messages.addAll(turns(record.get("prompt"), "prompt", "user"));
            messages.addAll(turns(record.path("completion"), "completion", "assistant"));
        }
        return new Rated(name, messages, tools(), good.booleanValue());
    }

    /** The messages of a record, its system text first. */
    private List<Message> conversation() {
        String key = has("messages") ? "messages" : "conversations";
        List<Message> messages = new ArrayList<>();
        system(messages);
        messages.addAll(turns(record.get(key), key, "user"));
        if (messages.isEmpty()) {
            throw new IllegalArgumentException(name + ": \"" + key + "\" is empty");
        }
        return messages;
    }

    private void system(List<Message> messages) {
        String system = optionalText(record, "system");
        if (!system.isEmpty()) {
            messages.add(Message.system(system));
        }
    }

    /** A string said by {@code role}, one message, or a list of messages. */
    private List<Message> turns(JsonNode value, String key, String role) {
        List<Message> out = new ArrayList<>();
        if (value.isTextual()) {
            out.add(new Message(role, value.textValue()));
        } else if (value.isObject()) {
            out.add(message(value, key));
        } else if (value.isArray()) {
            value.forEach(m -> out.add(message(m, key)));
        } else {
            throw wrong(key, "a string, a message or a list of messages", value);
        }
        return out;
    }

    private Message message(JsonNode m, String key) {
        try {
            if (m.has("role") && (m.has("content") || m.has("tool_calls"))) {
                return roleMessage(m);
            }
            if (m.has("from") && m.has("value")) {
                return shareGpt(text(m, "from"), text(m, "value"));
            }
        } catch (IllegalArgumentException e) {
            String message = e.getMessage();
            throw message.startsWith(name) ? e : new IllegalArgumentException(name + ": " + message, e);
        }
        throw wrong(key, "messages of {role, content} or {from, value}", m);
    }

    private Message shareGpt(String from, String value) {
        if (CALL.contains(from)) {
            JsonNode calls = parse(value, from);
            List<Message.ToolCall> list = new ArrayList<>();
            for (JsonNode call : calls.isArray() ? calls : List.of(calls)) {
                list.add(toolCall(call));
            }
            return new Message("assistant", "", list, Map.of());
        }
        String role = USER.contains(from)
                ? "user"
                : ASSISTANT.contains(from) ? "assistant" : TOOL.contains(from) ? "tool" : from;
        if (role.equals(from) && !Set.of("user", "assistant", "tool", "system").contains(from)) {
            throw new IllegalArgumentException(
                    name + ": \"from\": \"" + from + "\" is none of human, gpt, system, function_call, observation");
        }
        return new Message(role, value);
    }

    private Message roleMessage(JsonNode m) {
        List<Message.ToolCall> calls = new ArrayList<>();
        for (JsonNode call : m.path("tool_calls")) {
            calls.add(toolCall(call));
        }
        Map<String, Object> more = new LinkedHashMap<>();
        m.properties().forEach(e -> {
            boolean known = Set.of("role", "content", "tool_calls").contains(e.getKey());
            if (!known && !e.getValue().isNull()) {
                more.put(e.getKey(), JSON.convertValue(e.getValue(), Object.class));
            }
        });
        return new Message(text(m, "role"), content(m.path("content")), calls, more);
    }

    /** A string, or a list of parts of which all are text. */
    private String content(JsonNode content) {
        if (content.isMissingNode() || content.isNull()) {
            return null;
        }
        if (content.isTextual()) {
            return content.textValue();
        }
        StringBuilder text = new StringBuilder();
        if (!content.isArray()) {
            throw wrong("content", "a string or a list of text parts", content);
        }
        for (JsonNode part : content) {
            if (!part.path("text").isTextual()) {
                throw new IllegalArgumentException(
                        name + ": content part of type " + part.path("type") + " is not text");
            }
            text.append(part.get("text").textValue());
        }
        return text.toString();
    }

    private Message.ToolCall toolCall(JsonNode call) {
        JsonNode function = call.has("function") ? call.get("function") : call;
        if (!function.path("name").isTextual()) {
            throw new IllegalArgumentException(name + ": tool call without a name");
        }
        JsonNode arguments = function.has("arguments") ? function.get("arguments") : function.path("parameters");
        if (arguments.isTextual()) {
            arguments = parse(arguments.textValue(), "arguments");
        }
        if (!arguments.isObject()) {
            throw new IllegalArgumentException(name + ": arguments of tool call " + function.get("name")
                    + " must be an object, not " + kind(arguments));
        }
        return new Message.ToolCall(
                call.path("id").isTextual() ? call.get("id").textValue() : null,
                function.get("name").textValue(),
                JSON.convertValue(arguments, new TypeReference<Map<String, Object>>() {}));
    }

    /** The record's tools: a list of schemas, possibly written as a string. */
    private List<Map<String, Object>> tools() {
        JsonNode tools = record.path("tools");
        if (tools.isTextual()) {
            tools = tools.textValue().isBlank() ? JSON.createArrayNode() : parse(tools.textValue(), "tools");
        }
        if (tools.isMissingNode() || tools.isNull()) {
            return List.of();
        }
        if (!tools.isArray()) {
            throw wrong("tools", "a list of schemas", tools);
        }
        List<Map<String, Object>> out = new ArrayList<>();
        for (JsonNode tool : tools) {
            if (!tool.isObject()) {
                throw wrong("tools", "a list of schemas", tool);
            }
            Map<String, Object> schema = JSON.convertValue(tool, new TypeReference<Map<String, Object>>() {});
            Map<String, Object> wrapped = new LinkedHashMap<>();
            wrapped.put("type", "function");
            wrapped.put("function", schema);
            out.add(schema.containsKey("function") ? schema : wrapped);
        }
        return out;
    }

    private JsonNode parse(String json, String key) {
        try {
            return JSON.readTree(json);
        } catch (JsonProcessingException e) {
            throw new IllegalArgumentException(name + ": \"" + key + "\" holds malformed JSON: " + Json.reason(e), e);
        }
    }
}
