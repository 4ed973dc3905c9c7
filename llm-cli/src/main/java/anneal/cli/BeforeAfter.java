package anneal.cli;

import anneal.Pretrained;
import anneal.data.Alpaca;
import anneal.data.Sample;
import anneal.generate.Sampling;
import anneal.text.Message;
import anneal.text.Tokenizer;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Supplier;

/** What the model makes of the first samples before and after the training, on the same prompts. */
final class BeforeAfter {
    private static final int PROMPTS = 2;
    private static final int TOKENS = 48;
    private static final int WORDS = 8;
    private static final int CHARACTERS = 60;

    /** What is shown of a prompt, and its tokens, which a template may refuse to make. */
    private record Prompt(String shown, Supplier<int[]> ids) {}

    private final Pretrained lm;
    private final List<Prompt> prompts = new ArrayList<>();
    private final List<String> before;

    /** Answers the prompts for the first time. */
    BeforeAfter(Pretrained lm, List<Sample> samples) {
        this.lm = lm;
        samples.forEach(this::add);
        before = answers();
    }

    /** The samples whose prompts are shown. */
    static List<Sample> choose(Iterable<Sample> source) {
        List<Sample> first = new ArrayList<>();
        for (Sample sample : source) {
            first.add(sample);
            if (first.size() == PROMPTS) {
                break;
            }
        }
        return first;
    }

    /** Answers the prompts again and prints both. */
    void print(PrintWriter out) {
        List<String> after = answers();
        for (int i = 0; i < prompts.size(); i++) {
            out.println();
            out.println("Prompt: " + oneLine(prompts.get(i).shown));
            out.println("  before: " + oneLine(before.get(i)));
            out.println("  after:  " + oneLine(after.get(i)));
        }
        out.println();
    }

    /** The prompt is made as the training made it: through the template if there is one, else as plain text. */
    private void add(Sample sample) {
        switch (sample) {
            case Sample.Text t -> addText(firstWords(t.text()), firstWords(t.text()));
            case Sample.Completion c -> add(c);
            case Sample.Instruction i -> add(i);
            case Sample.Conversation c -> addChat(beforeAnswer(c.messages()));
            case Sample.Preference p -> addChat(p.prompt());
            case Sample.Rated r -> addChat(beforeAnswer(r.messages()));
        }
    }

    private void add(Sample.Completion c) {
        if (lm.hasChatTemplate()) {
            addChat(List.of(Message.user(c.prompt())));
        } else {
            addText(c.prompt(), c.prompt());
        }
    }

    private void add(Sample.Instruction i) {
        if (lm.hasChatTemplate()) {
            addChat(beforeAnswer(i.conversation().messages()));
        } else {
            String shown = i.input().isEmpty() ? i.instruction() : i.instruction() + "\n" + i.input();
            addText(shown, Alpaca.prompt(i.instruction(), i.input()));
        }
    }

    private void addText(String shown, String prompt) {
        prompts.add(new Prompt(
                shown,
                () -> lm.tokenizer().encode(prompt, Tokenizer.Options.DOCUMENT).ids()));
    }

    private void addChat(List<Message> messages) {
        if (!messages.isEmpty()) {
            prompts.add(new Prompt(messages.getLast().content(), () -> lm.chat().prompt(messages)));
        }
    }

    private static List<Message> beforeAnswer(List<Message> messages) {
        return messages.stream().takeWhile(m -> !m.isAssistant()).toList();
    }

    /** The beginning of a text, but never all of its words: something must be left to be written. */
    static String firstWords(String text) {
        String[] words = text.strip().split("\\s+");
        int count = Math.min(WORDS, Math.ceilDiv(words.length, 2));
        String first = String.join(" ", Arrays.asList(words).subList(0, count));
        return first.substring(
                0, first.offsetByCodePoints(0, Math.min(CHARACTERS, first.codePointCount(0, first.length()))));
    }

    private List<String> answers() {
        return prompts.stream().map(this::answer).toList();
    }

    /** A sample is no reason to end a run: the training says better what is wrong with the numbers or the data. */
    private String answer(Prompt prompt) {
        try {
            int[] ids = prompt.ids.get();
            int context = lm.model().contextLength();
            int room = context == 0 ? TOKENS : Math.clamp(context - ids.length, 1, TOKENS);
            return lm.text().stream(ids, Sampling.greedy(room), piece -> {}).text();
        } catch (IllegalArgumentException e) {
            return "(none: " + e.getMessage() + ")";
        }
    }

    /** A text as it can be printed beside others. */
    static String oneLine(String text) {
        return text.strip().replace("\n", "\\n");
    }
}
