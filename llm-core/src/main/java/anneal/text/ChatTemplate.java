package anneal.text;

import anneal.io.Json;
import anneal.text.jinja.Template;
import com.fasterxml.jackson.core.JacksonException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * How a conversation is written as one text: a Jinja template, and the special tokens it may name.
 *
 * <p>The variables a template sees are those of transformers: messages, tools, documents, add_generation_prompt, the
 * special tokens (bos_token, eos_token ...), and whatever the caller adds. Like transformers, a folder may hold several
 * named templates; the one named tool_use is taken when tools are given, else the one named default.
 */
public final class ChatTemplate {
    private static final String CHATML = """
            {% for message in messages %}
            {{ '<|im_start|>' + message['role'] + '\\n' }}
            {%- if message['role'] == 'assistant' %}
            {% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}
            {%- else %}
            {{- message['content'] + '<|im_end|>' }}
            {%- endif %}
            {{- '\\n' }}
            {%- endfor %}
            {% if add_generation_prompt %}
            {{ '<|im_start|>assistant\\n' }}
            {%- endif %}
            """;

    private final Map<String, Template> templates;
    private final Map<String, String> specialTokens;
    private final Clock clock;

    private ChatTemplate(Map<String, Template> templates, Map<String, String> specialTokens, Clock clock) {
        this.templates = Map.copyOf(templates);
        this.specialTokens = Map.copyOf(specialTokens);
        this.clock = clock;
    }

    /**
     * What may differ from one rendering to the next.
     *
     * @param addGenerationPrompt ends with what precedes an answer, for the model to go on from
     * @param tools JSON schemas of the functions the model may ask for; empty for none
     * @param variables further variables a template may read, for example enable_thinking
     */
    public record Options(boolean addGenerationPrompt, List<Map<String, Object>> tools, Map<String, Object> variables) {
        /** A whole conversation, no tools. */
        public static final Options CONVERSATION = new Options(false, List.of(), Map.of());
        /** A conversation to be answered, no tools. */
        public static final Options PROMPT = CONVERSATION.withGenerationPrompt(true);

        /** The same with or without generation prompt. */
        public Options withGenerationPrompt(boolean add) {
            return new Options(add, tools, variables);
        }

        /** The same with these tools. */
        public Options withTools(List<Map<String, Object>> newTools) {
            return new Options(addGenerationPrompt, newTools, variables);
        }

        /** The same with these variables. */
        public Options withVariables(Map<String, Object> newVariables) {
            return new Options(addGenerationPrompt, tools, newVariables);
        }
    }

    /** ChatML, the format of {@code <|im_start|>role}, newline, content, {@code <|im_end|>}. */
    public static ChatTemplate chatml() {
        return of(CHATML, Map.of("eos_token", "<|im_end|>"));
    }

    /**
     * A template by its source.
     *
     * @param specialTokens by the name templates use: bos_token, eos_token ...
     */
    public static ChatTemplate of(String source, Map<String, String> specialTokens) {
        return new ChatTemplate(Map.of("default", Template.parse(source)), specialTokens, Clock.systemDefaultZone());
    }

    /**
     * The templates of a Hugging Face folder: chat_template.jinja and additional_chat_templates/NAME.jinja, or else
     * chat_template in tokenizer_config.json (a string or a list of named ones) or in chat_template.json.
     *
     * @return empty if the folder has no template
     */
    public static Optional<ChatTemplate> load(Path folder) {
        Map<String, String> sources = new TreeMap<>();
        Map<String, String> tokens = new TreeMap<>();
        for (String file : List.of("special_tokens_map.json", "tokenizer_config.json")) {
            readJson(folder.resolve(file)).ifPresent(json -> addTokens(json, tokens));
        }
        for (String file : List.of("chat_template.json", "tokenizer_config.json")) {
            Path path = folder.resolve(file);
            readJson(path).ifPresent(json -> addSources(json.path("chat_template"), path, sources));
        }
        addFile(folder.resolve("chat_template.jinja"), "default", sources);
        Path additional = folder.resolve("additional_chat_templates");
        if (Files.isDirectory(additional)) {
            try (Stream<Path> files = Files.list(additional)) {
                files.filter(f -> f.toString().endsWith(".jinja")).forEach(f -> {
                    String name = f.getFileName().toString();
                    addFile(f, name.substring(0, name.length() - ".jinja".length()), sources);
                });
            } catch (IOException e) {
                throw new UncheckedIOException("cannot read " + additional, e);
            }
        }
        if (sources.isEmpty()) {
            return Optional.empty();
        }
        Map<String, Template> templates = new TreeMap<>();
        sources.forEach((name, source) -> {
            try {
                templates.put(name, Template.parse(source));
            } catch (IllegalArgumentException e) {
                throw new IllegalArgumentException(
                        "chat template '" + name + "' of " + folder + ": " + e.getMessage(), e);
            }
        });
        return Optional.of(new ChatTemplate(templates, tokens, Clock.systemDefaultZone()));
    }

    private static Optional<JsonNode> readJson(Path file) {
        if (!Files.isRegularFile(file)) {
            return Optional.empty();
        }
        try {
            return Optional.of(new ObjectMapper().readTree(file.toFile()));
        } catch (JacksonException e) {
            throw new IllegalArgumentException(file + ": not JSON: " + Json.reason(e), e);
        } catch (IOException e) {
            throw new UncheckedIOException("cannot read " + file, e);
        }
    }

    private static void addTokens(JsonNode json, Map<String, String> tokens) {
        json.properties().forEach(e -> {
            JsonNode token = e.getValue().isObject() ? e.getValue().path("content") : e.getValue();
            if (e.getKey().endsWith("_token") && token.isTextual()) {
                tokens.put(e.getKey(), token.textValue());
            }
        });
    }

    private static void addSources(JsonNode template, Path file, Map<String, String> sources) {
        if (template.isTextual()) {
            sources.put("default", template.textValue());
        } else if (template.isArray()) {
            for (JsonNode one : template) {
                if (!one.path("name").isTextual() || !one.path("template").isTextual()) {
                    throw new IllegalArgumentException(
                            file + ": chat_template: every entry of the list needs a name and a template");
                }
                sources.put(one.get("name").textValue(), one.get("template").textValue());
            }
        } else if (!template.isMissingNode() && !template.isNull()) {
            throw new IllegalArgumentException(file + ": chat_template must be a string or a list of named templates");
        }
    }

    private static void addFile(Path file, String name, Map<String, String> sources) {
        if (Files.isRegularFile(file)) {
            try {
                sources.put(name, Files.readString(file));
            } catch (IOException e) {
                throw new UncheckedIOException("cannot read " + file, e);
            }
        }
    }

    /** The same template with another clock for {@code strftime_now}, which some templates write a date with. */
    public ChatTemplate withClock(Clock newClock) {
        return new ChatTemplate(templates, specialTokens, newClock);
    }

    /** The same folder's template of this name, whether or not there are tools. */
    public ChatTemplate named(String name) {
        return new ChatTemplate(Map.of("default", template(name)), specialTokens, clock);
    }

    /** The text of the template that is taken when there are no tools, for saving it. */
    public String source() {
        return template("default").source();
    }

    private Template template(String name) {
        Template template = templates.get(name);
        if (template == null) {
            throw new IllegalArgumentException(
                    "no chat template named '" + name + "', there are " + new TreeMap<>(templates).keySet());
        }
        return template;
    }

    /**
     * The conversation as one text.
     *
     * @throws IllegalArgumentException with the template's own sentence if it refuses the conversation
     */
    public String render(List<Message> messages, Options options) {
        return rendering(maps(messages), options).text();
    }

    Template.Rendering rendering(List<Map<String, Object>> messages, Options options) {
        Map<String, Object> variables = new LinkedHashMap<>(specialTokens);
        variables.put("messages", messages);
        variables.put("tools", options.tools().isEmpty() ? null : options.tools());
        variables.put("documents", null);
        variables.put("add_generation_prompt", options.addGenerationPrompt());
        variables.putAll(options.variables());
        boolean toolUse = !options.tools().isEmpty() && templates.containsKey("tool_use");
        return template(toolUse ? "tool_use" : "default").render(variables, clock);
    }

    static List<Map<String, Object>> maps(List<Message> messages) {
        List<Map<String, Object>> maps = new ArrayList<>();
        messages.forEach(m -> maps.add(m.toMap()));
        return maps;
    }

    @Override
    public String toString() {
        return "ChatTemplate" + new TreeMap<>(templates).keySet();
    }
}
