package anneal.cli;

import anneal.Perplexity;
import anneal.Pretrained;
import anneal.data.Jsonl;
import anneal.data.Sample;
import anneal.tensor.Tape;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code anneal eval}: perplexity on a text. */
@Command(
        name = "eval",
        description = "Perplexity of a model on a text file, in windows that do not overlap.",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        footer = {
            "",
            "Examples:",
            "  anneal eval --model model.gguf --data wiki.txt",
            "  anneal eval --model folder --adapter runs/mine --data held-out.jsonl --window 256"
        })
final class EvalCommand implements Callable<Integer> {
    private static final int USUAL_WINDOW = 512;

    @Mixin
    ModelFlags model = new ModelFlags();

    @Option(
            names = "--data",
            required = true,
            paramLabel = "FILE",
            description = "Text: .txt, or .jsonl with the key text, one after another.")
    Path data;

    @Option(
            names = "--window",
            paramLabel = "N",
            description = "Tokens seen together (default: 512, or the model's limit if that is less).")
    Integer window;

    @Option(names = "--max-tokens", paramLabel = "N", description = "Only the first N tokens; 0 = all.")
    int maxTokens = 0;

    @Option(names = "--config", paramLabel = "FILE", description = "YAML file with the same keys; flags win.")
    Path config;

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() {
        RunFlags.require("--max-tokens", maxTokens, 0);
        StringBuilder text = new StringBuilder();
        for (Sample sample : Jsonl.read(data)) {
            if (!(sample instanceof Sample.Text t)) {
                throw new IllegalArgumentException(
                        sample.name() + ": eval needs plain text (.txt, or records with the key text)");
            }
            text.append(t.text());
        }
        try (Pretrained lm = model.load();
                Tape.Precision precision = model.precision()) {
            int[] ids = lm.tokenizer().encode(text.toString());
            ids = maxTokens > 0 && ids.length > maxTokens ? java.util.Arrays.copyOf(ids, maxTokens) : ids;
            long start = System.nanoTime();
            Perplexity p = Perplexity.of(lm.model(), ids, window(lm.model().contextLength()));
            double seconds = (System.nanoTime() - start) * 1e-9;
            spec.commandLine()
                    .getOut()
                    .printf(
                            Locale.ROOT,
                            "perplexity %.4f  (nll %.4f per token, %d tokens predicted, %.0f tokens/s)%n",
                            p.value(),
                            p.nll() / p.tokens(),
                            p.tokens(),
                            p.tokens() / seconds);
        }
        return 0;
    }

    private int window(int limit) {
        if (window != null) {
            return window;
        }
        return limit > 0 ? Math.min(USUAL_WINDOW, limit) : USUAL_WINDOW;
    }
}
