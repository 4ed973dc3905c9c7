package anneal.cli;

import anneal.Pretrained;
import anneal.tensor.Tape;
import anneal.text.Message;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code anneal chat}: a conversation in the terminal. */
@Command(
        name = "chat",
        description = "Talks with a model. /reset forgets the conversation, /exit or Ctrl-D ends it.",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        footer = {
            "",
            "Examples:",
            "  anneal chat --model model.gguf",
            "  anneal chat --model folder --adapter runs/mine --temp 0.7"
        })
final class ChatCommand implements Callable<Integer> {
    @Mixin
    ModelFlags model = new ModelFlags();

    @Option(names = "--system", paramLabel = "TEXT", description = "System message.")
    String system;

    @ArgGroup(validate = false, heading = "%nSampling%n")
    SamplingFlags sampling = new SamplingFlags();

    @Option(names = "--config", paramLabel = "FILE", description = "YAML file with the same keys; flags win.")
    Path config;

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() {
        PrintWriter out = spec.commandLine().getOut();
        try (Pretrained lm = model.load();
                Tape.Precision precision = model.precision()) {
            lm.chat();
            BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            List<Message> history = fresh();
            out.println("Talk to " + lm + "; /reset forgets, /exit ends.");
            for (String line = ask(in, out); line != null && !line.equals("/exit"); line = ask(in, out)) {
                if (line.equals("/reset")) {
                    history = fresh();
                    out.println("(forgotten)");
                } else if (line.startsWith("/")) {
                    out.println("(unknown command " + line + ": there are /reset and /exit)");
                } else if (!line.isBlank()) {
                    history.add(Message.user(line));
                    answer(lm, history, out);
                }
            }
            return 0;
        }
    }

    private List<Message> fresh() {
        List<Message> history = new ArrayList<>();
        if (system != null) {
            history.add(Message.system(system));
        }
        return history;
    }

    private void answer(Pretrained lm, List<Message> history, PrintWriter out) {
        int[] prompt = lm.chat().prompt(history);
        int room = lm.model().contextLength() - prompt.length;
        if (lm.model().contextLength() > 0 && room < 1) {
            history.removeLast();
            out.println("(the conversation has reached the model's limit of "
                    + lm.model().contextLength() + " tokens: /reset to go on)");
            return;
        }
        String text = lm.text().stream(prompt, sampling.sampling(), piece -> {
                    out.print(piece);
                    out.flush();
                })
                .text();
        out.println();
        history.add(Message.assistant(text));
    }

    private static String ask(BufferedReader in, PrintWriter out) {
        out.print("> ");
        out.flush();
        try {
            return in.readLine();
        } catch (IOException e) {
            throw new UncheckedIOException("standard input", e);
        }
    }
}
