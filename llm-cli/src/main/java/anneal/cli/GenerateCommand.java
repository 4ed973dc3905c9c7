package anneal.cli;

import anneal.Pretrained;
import anneal.generate.BeamSearch;
import anneal.tensor.Tape;
import anneal.text.Message;
import anneal.text.Tokenizer;
import java.io.PrintWriter;
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

/** {@code anneal generate}: one prompt, one answer. */
@Command(
        name = "generate",
        description = "Answers one prompt: as a chat if the model has a chat template, else by writing on.",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        footer = {
            "",
            "Examples:",
            "  anneal generate --model model.gguf --prompt \"What is the capital of France?\"",
            "  anneal generate --model folder --adapter runs/mine --prompt \"Once\" --raw --temp 0.8 --top-p 0.95 --seed 3",
            "  anneal generate --model folder --quantize nf4 --adapter runs/qlora --prompt \"What colour is the sky?\""
        })
final class GenerateCommand implements Callable<Integer> {
    @Mixin
    ModelFlags model = new ModelFlags();

    @Option(names = "--prompt", required = true, paramLabel = "TEXT", description = "What to answer.")
    String prompt;

    @Option(names = "--system", paramLabel = "TEXT", description = "System message of the chat.")
    String system;

    @Option(names = "--raw", description = "Write on from the prompt itself, without the chat template.")
    boolean raw;

    @Option(names = "--stop", paramLabel = "TEXT", description = "End at this string; may be given more than once.")
    List<String> stops = new ArrayList<>();

    @Option(names = "--logprobs", description = "Also list each token with its log-probability.")
    boolean logProbs;

    @Option(
            names = "--beams",
            paramLabel = "N",
            description = "Search for the most likely text with N beams (default: ${DEFAULT-VALUE}).")
    int beams = 1;

    @ArgGroup(validate = false, heading = "%nSampling%n")
    SamplingFlags sampling = new SamplingFlags();

    @Option(names = "--config", paramLabel = "FILE", description = "YAML file with the same keys; flags win.")
    Path config;

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() {
        PrintWriter out = spec.commandLine().getOut();
        RunFlags.require("--beams", beams, 1);
        if (beams > 1 && (logProbs || !stops.isEmpty() || sampling.cuts())) {
            throw new IllegalArgumentException(
                    "--beams " + beams
                            + " finds the most likely text: it goes with none of --temp, --top-p, --top-k, --min-p, --stop, --logprobs");
        }
        try (Pretrained lm = model.load();
                Tape.Precision precision = model.precision()) {
            int[] ids = ids(lm);
            if (beams > 1) {
                var best = lm.beamSearch().search(ids, BeamSearch.Options.of(beams), sampling.sampling());
                out.println(lm.tokenizer().decode(best.getFirst().tokens()));
                return 0;
            }
            var text = lm.text(stops.toArray(String[]::new)).stream(ids, sampling.sampling(), piece -> {
                out.print(piece);
                out.flush();
            });
            out.println();
            for (int i = 0; logProbs && i < text.generation().tokens().length; i++) {
                out.printf(
                        "%9.4f  %s%n",
                        text.generation().logProbs()[i],
                        lm.tokenizer().token(text.generation().tokens()[i]));
            }
            return 0;
        }
    }

    private int[] ids(Pretrained lm) {
        if (raw || !lm.hasChatTemplate()) {
            if (system != null) {
                throw new IllegalArgumentException("--system needs a chat: "
                        + (raw ? "--raw goes without one" : "the model has no chat template"));
            }
            return lm.tokenizer().encode(prompt, Tokenizer.Options.DOCUMENT).ids();
        }
        List<Message> messages = new ArrayList<>();
        if (system != null) {
            messages.add(Message.system(system));
        }
        messages.add(Message.user(prompt));
        return lm.chat().prompt(messages);
    }
}
