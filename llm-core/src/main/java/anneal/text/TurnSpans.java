package anneal.text;

import anneal.text.jinja.Template.Span;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Where in a rendered conversation each assistant message stands, for templates without generation markers.
 *
 * <p>A turn begins where the conversation before it, rendered with generation prompt, ends, and ends where the conversation
 * up to it ends. That holds if these renderings are prefixes of the whole. Templates that write a message differently once
 * others follow (dropping old reasoning, moving the system text) break it; then the message is rendered once more with
 * another content: what both renderings share before and after is what the template put around it. Positions only; the text
 * is never searched, since a message may quote another.
 */
final class TurnSpans {
    private final ChatTemplate template;
    private final List<Map<String, Object>> messages;
    private final ChatTemplate.Options options;
    private final String whole;

    TurnSpans(ChatTemplate template, List<Map<String, Object>> messages, ChatTemplate.Options options, String whole) {
        this.template = template;
        this.messages = messages;
        this.options = options;
        this.whole = whole;
    }

    /** The turn of message {@code i}; fails if the template does not give the place away. */
    Span of(int i) {
        int start = start(i);
        int end = end(i, start);
        if (start < 0 || end < start) {
            throw new IllegalArgumentException("the chat template writes message " + (i + 1) + " of " + messages.size()
                    + " in a way that its place cannot be told: mark it with {% generation %} in the template");
        }
        return new Span(start, end);
    }

    private int start(int i) {
        String before = tryRender(messages.subList(0, i), true);
        if (before != null && whole.startsWith(before)) {
            return before.length();
        }
        String other = tryRender(replaced(messages, i), false);
        return other == null ? -1 : shared(whole, other, false);
    }

    private int end(int i, int start) {
        if (i + 1 == messages.size()) {
            return whole.length();
        }
        List<Map<String, Object>> upTo = messages.subList(0, i + 1);
        String after = tryRender(upTo, false);
        String otherAfter = tryRender(replaced(upTo, i), false);
        String otherWhole = tryRender(replaced(messages, i), false);
        if (after == null || whole.startsWith(after)) {
            return after == null ? -1 : after.length();
        }
        if (otherAfter == null || otherWhole == null) {
            return -1;
        }
        // What closes the turn when it is the last one, as far as it is the same in the middle.
        int contentEnd = whole.length() - shared(whole, otherWhole, true);
        String closing = after.substring(after.length() - shared(after, otherAfter, true));
        int end = contentEnd + shared(closing, whole.substring(contentEnd), false);
        // A template that puts the next message's text inside this turn leaves no stretch that is this message alone.
        String otherNext = tryRender(replaced(messages, i + 1), false);
        boolean apart = otherNext != null && shared(whole, otherNext, false) >= contentEnd;
        return contentEnd >= start && apart ? end : -1;
    }

    /** Null if the template refuses this part of the conversation. */
    private String tryRender(List<Map<String, Object>> part, boolean prompt) {
        try {
            return template.rendering(part, options.withGenerationPrompt(prompt))
                    .text();
        } catch (IllegalArgumentException e) {
            return null;
        }
    }

    /** The messages with another content in message {@code i}, different from its own in the first and last letter. */
    private static List<Map<String, Object>> replaced(List<Map<String, Object>> messages, int i) {
        Map<String, Object> message = new LinkedHashMap<>(messages.get(i));
        String content = message.get("content") instanceof String s ? s.strip() : "";
        char first = content.startsWith("x") ? 'y' : 'x';
        char last = content.endsWith("x") ? 'y' : 'x';
        message.put("content", "" + first + last);
        List<Map<String, Object>> out = new ArrayList<>(messages);
        out.set(i, message);
        return out;
    }

    /** Length of the common prefix, or suffix. */
    private static int shared(String a, String b, boolean suffix) {
        int most = Math.min(a.length(), b.length());
        int n = 0;
        while (n < most
                && (suffix
                        ? a.charAt(a.length() - 1 - n) == b.charAt(b.length() - 1 - n)
                        : a.charAt(n) == b.charAt(n))) {
            n++;
        }
        return n;
    }
}
