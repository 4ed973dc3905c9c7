package anneal.cli;

import anneal.Pretrained;
import anneal.data.Jsonl;
import anneal.data.Sample;
import anneal.distill.HeadPruning;
import anneal.distill.Student;
import anneal.distill.WidthPruning;
import anneal.model.Decoder;
import anneal.model.DecoderConfig;
import anneal.model.Tokens;
import anneal.nn.Linear;
import anneal.nn.Weight;
import anneal.quant.InputNorms;
import anneal.quant.LowRank;
import anneal.quant.Mask;
import anneal.quant.Pruning;
import anneal.quant.calibrate.Calibration;
import anneal.quant.calibrate.Windows;
import anneal.tensor.DType;
import anneal.tensor.Memory;
import anneal.tensor.Tape;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code anneal prune}: takes out what does least. */
@Command(
        name = "prune",
        description =
                "Makes a model smaller: takes out layers, heads or channels, makes matrices products of thin ones, or sets"
                        + " weights to zero.",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        footer = {
            "",
            "Examples:",
            "  anneal prune --model folder --method magnitude --sparsity 0.3 --output thin",
            "  anneal prune --model folder --method wanda --sparsity 0.5 --data wiki.txt --output thin",
            "  anneal prune --model folder --method nm --pattern 2:4 --data wiki.txt --output thin",
            "  anneal prune --model folder --method layers --sparsity 0.25 --data wiki.txt --dtype bf16 --output short",
            "  anneal prune --model folder --method width --sparsity 0.2 --data wiki.txt --output narrow.gguf",
            "  anneal prune --model folder --method svd --sparsity 0.2 --data wiki.txt --output factored"
        })
final class PruneCommand implements Callable<Integer> {
    /** Numbers of the usual blocks of quantised files. */
    private static final int BLOCK = 32;

    enum How {
        magnitude,
        wanda,
        nm,
        layers,
        heads,
        width,
        svd;

        boolean needsData() {
            return this == wanda || this == layers || this == heads || this == width;
        }
    }

    /** Of which numbers together a part goes. */
    enum Scope {
        layer,
        row,
        global
    }

    @Option(names = "--model", required = true, paramLabel = "PATH", description = "Hugging Face folder or .gguf file.")
    Path model;

    @Option(
            names = "--method",
            required = true,
            paramLabel = "NAME",
            description =
                    "${COMPLETION-CANDIDATES}. magnitude, wanda and nm set weights of the blocks to zero, layers, heads and"
                            + " width (channels of the feed-forward networks) take parts out, svd makes each matrix of"
                            + " the blocks a product of two thin ones.")
    How method;

    @Option(
            names = "--sparsity",
            paramLabel = "F",
            description = "The part that goes, in (0, 1); of nm --pattern says it, of svd --energy may.")
    Double sparsity;

    @Option(
            names = "--energy",
            paramLabel = "F",
            description = "Of svd: the part of each matrix's squared singular values that stays, in (0, 1).")
    Double energy;

    @Option(
            names = "--scope",
            paramLabel = "NAME",
            description = "Of which numbers that part goes: ${COMPLETION-CANDIDATES} (default: layer; of wanda row).")
    Scope scope;

    @Option(names = "--pattern", paramLabel = "N:M", description = "Of nm: of M neighbours N stay (default: 2:4).")
    String pattern;

    @Option(
            names = "--data",
            paramLabel = "FILE",
            description =
                    "Calibration text, .txt or .jsonl with the key text; nm and svd look at weights alone without it.")
    Path data;

    @Option(
            names = "--samples",
            paramLabel = "N",
            description = "Pieces of the calibration text (default: 32, or what there is).")
    Integer samples;

    @Option(
            names = "--window",
            paramLabel = "N",
            description = "Tokens of a piece (default: 512, or the model's limit if that is less).")
    Integer window;

    @Option(
            names = "--output",
            required = true,
            paramLabel = "PATH",
            description = "New folder, or new .gguf file (not of svd).")
    Path output;

    @Option(
            names = "--dtype",
            paramLabel = "T",
            description =
                    "f32, f16 or bf16 (default: as the model has it, else f32; layers keeps quantised matrices as they are).")
    DType dtype;

    @Option(names = "--threads", paramLabel = "N", description = "Threads. Default: all cores.")
    Integer threads;

    @Option(names = "--config", paramLabel = "FILE", description = "YAML file with the same keys; flags win.")
    Path config;

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() {
        check();
        RunFolder.requireNew(output, "");
        ModelFlags.useThreads(threads);
        try (Pretrained lm = Pretrained.load(model);
                Arena memory = Arena.ofShared()) {
            boolean keeps = dtype == null && method == How.layers;
            DType type = dtype != null ? dtype : keeps ? QuantizeCommand.stored(lm) : storedType(lm.model());
            if (dtype == null) {
                tellOfWidened(lm.model(), type);
            }
            switch (method) {
                case magnitude, wanda, nm -> {
                    zero(lm, memory);
                    write(lm, type);
                }
                case layers -> save(lm, withoutLayers(lm, keeps), type);
                case heads -> save(lm, withoutHeads(lm), type);
                case width -> save(lm, withoutChannels(lm), type);
                case svd -> {
                    factor(lm, memory);
                    write(lm, type);
                }
            }
        }
        out(
                "On disk: %.2f MB before, %.2f MB after. The pruned model is in %s%n",
                EvalCommand.weights(model) / 1e6, EvalCommand.weights(output) / 1e6, output);
        return 0;
    }

    /** Throws if a flag is missing, out of range, or would be ignored. */
    private void check() {
        require(method == How.svd || energy == null, "--energy needs --method svd");
        require(
                method != How.svd || (sparsity == null) != (energy == null),
                "--method svd needs either --sparsity or --energy");
        require(method == How.nm || method == How.svd || sparsity != null, "--method " + method + " needs --sparsity");
        require(energy == null || energy > 0 && energy < 1, "--energy " + energy + " must be in (0, 1)");
        require(
                method != How.svd || !gguf(),
                "--output " + output + ": no GGUF file holds matrices as products; name a folder");
        ModelFlags.requireType(dtype, gguf());
        require(sparsity == null || sparsity > 0 && sparsity < 1, "--sparsity " + sparsity + " must be in (0, 1)");
        require(method != How.nm || sparsity == null, "--sparsity does not go with --method nm: --pattern says it");
        require(method == How.nm || pattern == null, "--pattern needs --method nm");
        require(
                scope == null || method == How.magnitude || method == How.wanda,
                "--scope does not go with --method " + method);
        require(
                !method.needsData() || data != null,
                "--method " + method + " needs --data, a text to look at inputs with");
        require(method != How.magnitude || data == null, "--data does not go with --method magnitude");
        require(data != null || samples == null && window == null, "--samples and --window need --data");
        RunFlags.require("--samples", samples == null ? 1 : samples, 1);
        RunFlags.require("--window", window == null ? 1 : window, 1);
        RunFlags.require("--threads", threads == null ? 1 : threads, 1);
    }

    private static void require(boolean holds, String rule) {
        if (!holds) {
            throw new IllegalArgumentException(rule);
        }
    }

    private boolean gguf() {
        return output.toString().endsWith(".gguf");
    }

    private void write(Pretrained lm, DType type) {
        ModelFlags.save(lm, output, gguf(), type, spec.commandLine().getErr());
    }

    /** Says why quantised matrices become floats, if there are any that do, and what makes the result small again. */
    private void tellOfWidened(Decoder model, DType type) {
        String formats = model.root().find(Linear.class).values().stream()
                .map(Linear::weight)
                .filter(w -> !FormatName.FLOATS.matcher(w.format()).matches())
                .filter(w -> method != How.layers
                        || (gguf() ? w.blocks().isEmpty() : w.folderForm().isEmpty()))
                .map(Weight::format)
                .distinct()
                .sorted()
                .collect(Collectors.joining(", "));
        if (!formats.isEmpty()) {
            String why = method != How.layers
                    ? "numbers inside its blocks change or go with --method " + method
                    : gguf() ? "a GGUF file cannot hold it" : "a folder cannot hold it, a .gguf file may";
            out(
                    "Matrices in %s are written as %s, since %s; anneal quantize on the result makes it small again.%n",
                    formats, type, why);
        }
    }

    private void out(String format, Object... values) {
        spec.commandLine().getOut().printf(Locale.ROOT, format, values);
    }

    // ---------------------------------------------------------------- weights to zero

    private void zero(Pretrained lm, Arena memory) {
        Pruning pruning = new Pruning(choice());
        Map<String, float[]> norms = data == null ? null : norms(lm);
        Map<String, Mask> masks;
        try (Progress progress = pruning()) {
            masks = norms == null
                    ? pruning.magnitude(lm.model().root(), memory, progress::layer)
                    : pruning.wanda(lm.model().root(), norms, memory, progress::layer);
        }
        Map<String, long[]> kinds = new TreeMap<>();
        Map<String, Linear> layers = lm.model().root().find(Linear.class);
        masks.forEach((path, mask) -> {
            long size = (long) layers.get(path).out() * layers.get(path).in();
            long[] sums = kinds.computeIfAbsent(path.replaceAll("\\.\\d+\\.", ".*."), k -> new long[3]);
            sums[0]++;
            sums[1] += size;
            sums[2] += Math.round(mask.sparsity() * size);
        });
        long all = 0, gone = 0;
        for (Map.Entry<String, long[]> kind : kinds.entrySet()) {
            long[] n = kind.getValue();
            out(
                    "  %-48s %4d x %,d: %,d set to zero (%.1f %%)%n",
                    kind.getKey(), n[0], n[1] / n[0], n[2], 100.0 * n[2] / n[1]);
            all += n[1];
            gone += n[2];
        }
        out("Set to zero: %,d of %,d weights in the blocks (%.1f %%).%n", gone, all, 100.0 * gone / all);
        out("Zeros take the room of other numbers: the file gets smaller only when it is compressed.%n");
    }

    private Progress pruning() {
        return new Progress(spec.commandLine().getErr(), "pruning", Progress.UNKNOWN, 0);
    }

    private Pruning.Choice choice() {
        if (method == How.nm) {
            Matcher m = Pattern.compile("(\\d{1,4}):(\\d{1,4})").matcher(pattern == null ? "2:4" : pattern);
            require(m.matches(), "--pattern " + pattern + " must be like 2:4");
            return new Pruning.Choice.NofM(Integer.parseInt(m.group(1)), Integer.parseInt(m.group(2)));
        }
        return switch (scope != null ? scope : method == How.wanda ? Scope.row : Scope.layer) {
            case layer -> new Pruning.Choice.PerLayer(sparsity);
            case row -> new Pruning.Choice.PerRow(sparsity);
            case global -> new Pruning.Choice.Global(sparsity);
        };
    }

    private Map<String, float[]> norms(Pretrained lm) {
        Runnable run = calibration(lm);
        try (var _ = Tape.pause()) {
            return InputNorms.capture(lm.model().root(), run);
        }
    }

    // ---------------------------------------------------------------- parts taken out

    /** A smaller model, with the memory it lives in. */
    private record Smaller(Decoder model, Arena memory) {}

    private void save(Pretrained lm, Smaller smaller, DType type) {
        try (Pretrained small = lm.with(smaller.model, smaller.memory)) {
            write(small, type);
            long before = lm.model().config().parameterCount(),
                    after = small.model().config().parameterCount();
            out(
                    "Parameters: %,d before, %,d after (%.1f %% less).%n",
                    before, after, 100.0 * (before - after) / before);
        }
    }

    /** How many of {@code count} stay. */
    private int kept(int count, String what) {
        int gone = (int) Math.round(sparsity * count);
        require(
                gone > 0 && gone < count,
                "--sparsity " + sparsity + " takes " + gone + " of the model's " + count + " " + what
                        + ": at least one must go and one must stay");
        return count - gone;
    }

    private Smaller withoutLayers(Pretrained lm, boolean keeps) {
        int layers = lm.model().config().layers(), count = kept(layers, "layers");
        double[] influence = Student.blockInfluence(lm.model(), calibration(lm));
        int[] stay = Student.mostImportant(influence, count);
        out("Taken out, by how little they change what passes through them (1 - cos):%n");
        others(stay, layers).forEach(i -> out("  layer %d  %.4f%n", i, influence[i]));
        return make(memory ->
                keeps ? Student.sharing(lm.model(), stay, memory) : Student.ofLayers(lm.model(), stay, memory));
    }

    private Smaller withoutHeads(Pretrained lm) {
        DecoderConfig.Heads heads = lm.model().config().heads();
        int count = kept(heads.kv(), "key heads");
        double[][] importance = HeadPruning.importance(lm.model(), calibration(lm));
        int[][] stay = HeadPruning.mostImportant(importance, count);
        out("Taken out of each layer, key heads each with %d query heads:%n", heads.query() / heads.kv());
        for (int i = 0; i < stay.length; i++) {
            out(
                    "  layer %d  heads %s%n",
                    i, others(stay[i], heads.kv()).map(String::valueOf).collect(Collectors.joining(", ")));
        }
        return make(memory -> HeadPruning.keep(lm.model(), stay, memory));
    }

    /** Keeps a multiple of {@link #BLOCK} where the model has one, so that blocks of quantised files still fill rows. */
    private Smaller withoutChannels(Pretrained lm) {
        int width = lm.model().config().feedForwardSize(), wanted = kept(width, "channels");
        int count = width % BLOCK == 0 && wanted >= BLOCK ? wanted / BLOCK * BLOCK : wanted;
        double[][] importance = WidthPruning.importance(lm.model(), calibration(lm));
        int[][] stay = WidthPruning.mostImportant(importance, count);
        out("Of the %d channels of each feed-forward network %d stay. Importance that goes:%n", width, count);
        for (int i = 0; i < stay.length; i++) {
            double[] scores = importance[i];
            double all = Arrays.stream(scores).sum(),
                    kept = Arrays.stream(stay[i]).mapToDouble(j -> scores[j]).sum();
            out("  layer %d  %.1f %%%n", i, all == 0 ? 0 : 100 * (1 - kept / all));
        }
        return make(memory -> WidthPruning.keep(lm.model(), stay, memory));
    }

    private static Stream<Integer> others(int[] stay, int count) {
        Set<Integer> kept = Arrays.stream(stay).boxed().collect(Collectors.toSet());
        return IntStream.range(0, count).boxed().filter(i -> !kept.contains(i));
    }

    private static Smaller make(Function<Arena, Decoder> copy) {
        Arena memory = Arena.ofShared();
        try {
            return new Smaller(copy.apply(memory), memory);
        } catch (RuntimeException | Error e) {
            memory.close();
            throw e;
        }
    }

    // ---------------------------------------------------------------- products of thin matrices

    private void factor(Pretrained lm, Arena memory) {
        LowRank.Size size = energy != null ? new LowRank.Size.Energy(energy) : new LowRank.Size.Sparsity(sparsity);
        Function<String, double[]> seen = data == null ? null : moments(lm);
        List<LowRank.Layer> layers;
        try (Progress progress = pruning()) {
            layers = new LowRank(size).apply(lm.model().root(), seen, memory, progress::layer);
        }
        out("%-48s %6s %8s  lost of %s%n", "layer", "rank", "numbers", data == null ? "the matrix" : "the output");
        long before = 0, after = 0;
        for (LowRank.Layer l : layers) {
            out(
                    "%-48s %6s %6.1f %%  %.1f %%%n",
                    l.path(),
                    l.rank() == 0 ? "full" : l.rank(),
                    100.0 * l.numbersAfter() / l.numbersBefore(),
                    100 * l.lost());
            before += l.numbersBefore();
            after += l.numbersAfter();
        }
        out(
                "Numbers in the blocks' matrices: %,d before, %,d after (%.1f %% less).%n",
                before, after, 100.0 * (before - after) / before);
    }

    private Function<String, double[]> moments(Pretrained lm) {
        Calibration.Options options = new Calibration.Options(true, 0, 0);
        Calibration seen = Calibration.capture(lm.model().root(), path -> true, options, calibration(lm));
        return path -> seen.of(path).moments();
    }

    // ---------------------------------------------------------------- what it looks at

    /** Runs the model over the calibration text, with a bar. */
    private Runnable calibration(Pretrained lm) {
        int limit = lm.model().contextLength();
        int[] ids = lm.tokenizer().encode(text());
        int usual = Math.clamp(ids.length, 1, limit > 0 ? Math.min(512, limit) : 512);
        int length = window != null ? window : usual;
        require(
                limit == 0 || length <= limit,
                "--window " + length + " is over the model's limit of " + limit + " positions");
        int count = samples != null ? samples : Math.clamp(ids.length / length, 1, 32);
        int[][] windows = Windows.of(ids, count, length);
        return () -> {
            try (Progress progress = new Progress(spec.commandLine().getOut(), "calibration", windows.length, 0)) {
                for (int i = 0; i < windows.length; i++) {
                    try (var _ = Memory.scope()) {
                        lm.model().hidden(Tokens.of(windows[i], 1, length), null);
                    }
                    progress.done(length + " tokens each", i + 1, windows.length);
                }
            }
        };
    }

    private String text() {
        StringBuilder text = new StringBuilder();
        for (Sample sample : Jsonl.read(data)) {
            if (!(sample instanceof Sample.Text t)) {
                throw new IllegalArgumentException(
                        sample.name() + ": prune needs plain text (.txt, or records with the key text)");
            }
            text.append(t.text());
        }
        return text.toString();
    }

    /** The half precision that all matrices have, else f32. */
    private static DType storedType(Decoder model) {
        Set<String> formats = model.root().find(Linear.class).values().stream()
                .map(l -> l.weight().format())
                .collect(Collectors.toSet());
        boolean half = formats.equals(Set.of("F16")) || formats.equals(Set.of("BF16"));
        return half ? DType.valueOf(formats.iterator().next()) : DType.F32;
    }
}
