package anneal.text;

import anneal.text.jinja.Template;
import anneal.text.jinja.Template.Span;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/**
 * A tokenizer and a chat template: conversations to token ids, with the mask of what the assistant says.
 *
 * <p>Special tokens are read where the template writes them, never in what people wrote. Immutable.
 */
public final class Chat {
    private final Tokenizer tokenizer;
    private final ChatTemplate template;
    private final SpecialTokenGuard guard;
    private final Map<String, Object> variables;
    private final boolean lastTurnOnly;

    private Chat(
            Tokenizer tokenizer,
            ChatTemplate template,
            SpecialTokenGuard guard,
            Map<String, Object> variables,
            boolean lastTurnOnly) {
        this.tokenizer = tokenizer;
        this.template = template;
        this.guard = guard;
        this.variables = variables;
        this.lastTurnOnly = lastTurnOnly;
    }

    /** Every assistant turn is trained; no further variables. */
    public Chat(Tokenizer tokenizer, ChatTemplate template) {
        this(tokenizer, template, new SpecialTokenGuard(tokenizer), Map.of(), false);
    }

    /** The same, training only the last assistant turn of a conversation. */
    public Chat lastTurnOnly() {
        return new Chat(tokenizer, template, guard, variables, true);
    }

    /** The same with these variables for the template. */
    public Chat withVariables(Map<String, Object> newVariables) {
        return new Chat(tokenizer, template, guard, Map.copyOf(newVariables), lastTurnOnly);
    }

    /** The tokenizer. */
    public Tokenizer tokenizer() {
        return tokenizer;
    }

    /** The template. */
    public ChatTemplate template() {
        return template;
    }

    /** The ids of a conversation to be answered, up to where the answer begins. */
    public int[] prompt(List<Message> messages) {
        return prompt(messages, List.of());
    }

    /** The ids of a conversation to be answered, with the JSON schemas of functions the model may ask for. */
    public int[] prompt(List<Message> messages, List<Map<String, Object>> tools) {
        ChatTemplate.Options options = new ChatTemplate.Options(true, tools, variables);
        Protected input = protect(messages, options);
        return tokens(template.rendering(input.messages, input.options).text(), input.mark)
                .ids();
    }

    /** See {@link #encode(String, List, List, int)}: no tools, all assistant turns. */
    public Encoded encode(String name, List<Message> messages) {
        return encode(name, messages, List.of(), 0);
    }

    /**
     * The ids of a whole conversation; trained is what stands inside the template's generation markers or, if it has none,
     * what the assistant's messages add to the text, to the token that ends the turn. If a turn ends without a special token,
     * the special token that begins the next turn is trained too, and at the very end the tokenizer's end of sequence is
     * added: a model that never sees where to stop does not learn it.
     *
     * @param name of the sample, for error messages
     * @param tools JSON schemas of functions the model may ask for
     * @param from the first message that may be trained
     * @throws IllegalArgumentException if the template refuses the conversation, or no token is trained
     */
    public Encoded encode(String name, List<Message> messages, List<Map<String, Object>> tools, int from) {
        try {
            return encode(messages, new ChatTemplate.Options(false, tools, variables), from);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(name + ": " + e.getMessage(), e);
        }
    }

    private Encoded encode(List<Message> messages, ChatTemplate.Options options, int from) {
        Protected input = protect(messages, options);
        Template.Rendering rendering = template.rendering(input.messages, input.options);
        boolean marked = !rendering.generated().isEmpty() && rendering.complete() && from == 0;
        List<Span> spans = marked ? nonEmpty(rendering.generated()) : turns(messages, from, input, rendering.text());
        if (lastTurnOnly && spans.size() > 1) {
            spans = List.of(spans.getLast());
        }
        Encoding tokens = tokens(rendering.text(), input.mark);
        boolean[] trained = mask(tokens, spans);
        Encoded encoded = new Encoded(tokens.ids(), trained);
        if (!marked) {
            encoded = withTurnEnds(encoded, tokens, spans);
        }
        if (encoded.trainedCount() == 0) {
            throw new IllegalArgumentException("no token is trained: the conversation of " + messages.size()
                    + " messages has no assistant message, or an empty one");
        }
        return encoded;
    }

    private record Protected(List<Map<String, Object>> messages, ChatTemplate.Options options, char mark) {}

    private Protected protect(List<Message> messages, ChatTemplate.Options options) {
        List<Map<String, Object>> maps = ChatTemplate.maps(messages);
        char mark = guard.mark(List.of(maps, options.tools(), options.variables()));
        return new Protected(
                guard.protect(maps, mark),
                new ChatTemplate.Options(
                        options.addGenerationPrompt(),
                        guard.protect(options.tools(), mark),
                        guard.protect(options.variables(), mark)),
                mark);
    }

    private List<Span> turns(List<Message> messages, int from, Protected input, String text) {
        TurnSpans turns = new TurnSpans(template, input.messages, input.options, text);
        List<Span> spans = new ArrayList<>();
        int last = messages.size() - 1;
        while (last >= 0 && !messages.get(last).isAssistant()) {
            last--;
        }
        for (int i = lastTurnOnly ? Math.max(last, from) : from; i <= last; i++) {
            if (messages.get(i).isAssistant()) {
                spans.add(turns.of(i));
            }
        }
        return nonEmpty(spans);
    }

    private static List<Span> nonEmpty(List<Span> spans) {
        return spans.stream().filter(s -> s.end() > s.start()).toList();
    }

    /** The ids and places of a rendered text, marks left out. */
    private Encoding tokens(String text, char mark) {
        List<Encoding> parts = new ArrayList<>();
        List<Integer> offsets = new ArrayList<>();
        int count = 0;
        for (int at = 0; at <= text.length(); ) {
            int end = text.indexOf(mark, at);
            end = end < 0 ? text.length() : end;
            if (end > at) {
                parts.add(tokenizer.encode(text.substring(at, end), Tokenizer.Options.TEMPLATE));
                offsets.add(at);
                count += parts.getLast().length();
            }
            at = end + 1;
        }
        Encoding all = new Encoding(new int[count], new int[count], new int[count]);
        int at = 0;
        for (int p = 0; p < parts.size(); p++) {
            Encoding part = parts.get(p);
            for (int i = 0; i < part.length(); i++, at++) {
                all.ids()[at] = part.ids()[i];
                all.starts()[at] = part.starts()[i] + offsets.get(p);
                all.ends()[at] = part.ends()[i] + offsets.get(p);
            }
        }
        return all;
    }

    /** True for tokens that share a character with a span; spans and tokens are in order. */
    private static boolean[] mask(Encoding tokens, List<Span> spans) {
        boolean[] trained = new boolean[tokens.length()];
        int s = 0;
        for (int i = 0; i < trained.length; i++) {
            while (s < spans.size() && spans.get(s).end() <= tokens.starts()[i]) {
                s++;
            }
            trained[i] = s < spans.size()
                    && Math.max(tokens.ends()[i], tokens.starts()[i] + 1)
                            > spans.get(s).start();
        }
        return trained;
    }

    private Encoded withTurnEnds(Encoded encoded, Encoding tokens, List<Span> spans) {
        boolean[] trained = encoded.trained();
        int i = 0;
        for (Span span : spans) {
            boolean ends = false;
            while (i < trained.length && tokens.starts()[i] < span.end()) {
                ends |= tokens.ends()[i] > span.start() && tokenizer.isSpecial(encoded.ids()[i]);
                i++;
            }
            if (!ends && i < trained.length) {
                trained[i] |= tokenizer.isSpecial(encoded.ids()[i]);
            } else if (!ends && tokenizer.eos().isPresent()) {
                int n = trained.length;
                int[] ids = Arrays.copyOf(encoded.ids(), n + 1);
                ids[n] = tokenizer.eos().getAsInt();
                boolean[] longer = Arrays.copyOf(trained, n + 1);
                longer[n] = true;
                return new Encoded(ids, longer);
            }
        }
        return encoded;
    }
}
