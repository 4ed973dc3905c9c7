package anneal.examples;

import anneal.Pretrained;
import anneal.generate.Sampling;
import anneal.text.Message;
import java.nio.file.Path;
import java.util.List;

/** Opens a model and asks it one question: {@code LoadAndChat MODEL QUESTION}. */
public final class LoadAndChat {
    private LoadAndChat() {}

    /** Prints the answer. */
    public static void main(String[] args) {
        ask(Path.of(args[0]), args[1]);
    }

    static void ask(Path model, String question) {
        try (Pretrained lm = Pretrained.load(model)) {
            System.out.println(lm.answer(List.of(Message.user(question)), Sampling.greedy(60)));
        }
    }
}
