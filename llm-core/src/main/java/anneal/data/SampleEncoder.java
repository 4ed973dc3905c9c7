package anneal.data;

import anneal.data.Sample.Completion;
import anneal.data.Sample.Conversation;
import anneal.data.Sample.Instruction;
import anneal.data.Sample.Preference;
import anneal.data.Sample.Rated;
import anneal.data.Sample.Text;
import anneal.text.Chat;
import anneal.text.Encoded;
import anneal.text.Encoding;
import anneal.text.Message;
import anneal.text.Tokenizer;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;

/**
 * Samples to token ids with their loss mask.
 *
 * <p>Text: what the tokenizer adds to a document, and its end of sequence; all trained. With a chat template, conversations,
 * instructions and completions (prompt: the user, completion: the assistant) are rendered by it and the assistant's words
 * are trained. Without, a completion is prompt and completion as one text and an instruction stands in Alpaca's prompt; the
 * completion, with the end of sequence, is trained: tokens are assigned by their place in the text.
 */
public final class SampleEncoder {
    private final Tokenizer tokenizer;
    /** Null without chat template. */
    private final Chat chat;

    private SampleEncoder(Tokenizer tokenizer, Chat chat) {
        this.tokenizer = tokenizer;
        this.chat = chat;
    }

    /** Through a chat template. */
    public static SampleEncoder of(Chat chat) {
        return new SampleEncoder(chat.tokenizer(), chat);
    }

    /** Without a chat template. */
    public static SampleEncoder of(Tokenizer tokenizer) {
        return new SampleEncoder(tokenizer, null);
    }

    /** The id that fills short rows: the tokenizer's padding, else its end of sequence, else 0; never seen by a model. */
    int padId() {
        return tokenizer.pad().orElse(tokenizer.eos().orElse(0));
    }

    /** @throws IllegalArgumentException naming the sample, if it cannot be encoded or no token would be trained */
    public Encoded encode(Sample sample) {
        Encoded encoded = switch (sample) {
            case Text s -> completion("", s.text());
            case Completion s ->
                chat == null
                        ? completion(s.prompt(), s.completion())
                        : chat.encode(s.name(), List.of(Message.user(s.prompt()), Message.assistant(s.completion())));
            case Instruction s -> chat == null ? completion(alpaca(s), s.output()) : conversation(s.conversation());
            case Conversation s -> conversation(s);
            case Preference s ->
                throw new IllegalArgumentException(
                        s.name() + ": is a pair for preference training, which supervised training cannot use");
            case Rated s ->
                throw new IllegalArgumentException(
                        s.name() + ": is a rated answer for preference training, which supervised training cannot use");
        };
        // The first token has nothing before it, so nothing predicts it.
        if (encoded.trainedCount() - (encoded.length() > 0 && encoded.trained()[0] ? 1 : 0) < 1) {
            throw new IllegalArgumentException(sample.name() + ": no token is trained");
        }
        return encoded;
    }

    private Encoded conversation(Conversation s) {
        if (chat == null) {
            throw new IllegalArgumentException(s.name() + ": is a conversation, which needs a chat template");
        }
        return chat.encode(s.name(), s.messages(), s.tools(), s.from());
    }

    private static String alpaca(Instruction s) {
        if (!s.history().isEmpty() || s.system() != null) {
            throw new IllegalArgumentException(
                    s.name() + ": has a system text or history, which needs a chat template");
        }
        return Alpaca.prompt(s.instruction(), s.input());
    }

    private Encoded completion(String prompt, String completion) {
        Encoding tokens = tokenizer.encode(prompt + completion, Tokenizer.Options.DOCUMENT);
        int n = tokens.length();
        boolean[] trained = new boolean[n];
        for (int i = 0; i < n; i++) {
            trained[i] = prompt.isEmpty() || tokens.ends()[i] > prompt.length();
        }
        OptionalInt eos = tokenizer.eos();
        if (eos.isEmpty() || n > 0 && tokens.ids()[n - 1] == eos.getAsInt()) {
            return new Encoded(tokens.ids(), trained);
        }
        int[] ids = Arrays.copyOf(tokens.ids(), n + 1);
        boolean[] longer = Arrays.copyOf(trained, n + 1);
        ids[n] = eos.getAsInt();
        longer[n] = true;
        return new Encoded(ids, longer);
    }
}
