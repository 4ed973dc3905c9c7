package anneal.cli;

import anneal.Pretrained;
import anneal.io.Folders;
import anneal.model.Tokens;
import anneal.nn.Linear;
import anneal.nn.Weight;
import anneal.peft.Adapters;
import anneal.peft.MergeReport;
import anneal.quant.QuantFormat;
import anneal.tensor.DType;
import anneal.tensor.Memory;
import anneal.tensor.Tape;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code anneal merge}: writes base and adapter as one model. */
@Command(
        name = "merge",
        description = "Writes a model with an adapter merged into its weights.",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        footer = {
            "",
            "Examples:",
            "  anneal merge --model model.gguf --adapter runs/mine --output merged",
            "  anneal merge --model folder --adapter runs/mine --output merged.gguf --format gguf --dtype q8_0",
            "  anneal merge --model model.gguf --adapter runs/mine --output merged.gguf --keep-format",
            "  anneal merge --model folder --quantize nf4 --adapter runs/qlora --output merged"
        })
final class MergeCommand implements Callable<Integer> {
    private static final String PROBE = "The sky is blue because the air scatters the light of the sun.";

    enum Format {
        safetensors,
        gguf
    }

    @Option(names = "--model", required = true, paramLabel = "PATH", description = "Base model: folder or .gguf file.")
    Path model;

    @Option(names = "--adapter", required = true, paramLabel = "DIR", description = "Adapter that changes weights.")
    Path adapter;

    @Option(names = "--output", required = true, paramLabel = "PATH", description = "New folder, or .gguf file.")
    Path output;

    @Option(names = "--format", paramLabel = "F", description = "${COMPLETION-CANDIDATES} (default: safetensors).")
    Format format;

    @Option(names = "--dtype", paramLabel = "T", description = "f32, f16, bf16; for gguf also q8_0 (default: f32).")
    DType dtype;

    @Option(
            names = "--keep-format",
            description =
                    "Write each matrix in the format that it has in the base, rounded again, and the file or folder"
                            + " that the base is; what that does to --probe is told.")
    boolean keepFormat;

    @Option(
            names = "--probe",
            paramLabel = "TEXT",
            description =
                    "Text on which logits are compared where numbers are rounded: with --keep-format, or a --dtype that"
                            + " is not f32 (default: \"" + PROBE + "\").")
    String probe;

    @Option(
            names = "--bound",
            paramLabel = "X",
            description = "Nothing is written if a logit differs by more (default: 0.5 with --keep-format, else none).")
    Double bound;

    @ArgGroup(validate = false, heading = "%nAn adapter of QLoRA%n")
    QuantizeFlags quantize = new QuantizeFlags();

    @Option(names = "--config", paramLabel = "FILE", description = "YAML file with the same keys; flags win.")
    Path config;

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() {
        check();
        QuantFormat held = quantize.format();
        RunFolder.requireNew(output, "");
        try (Pretrained lm = Pretrained.load(model)) {
            if (held != null) {
                QuantizeFlags.apply(held, lm, spec.commandLine().getOut());
            }
            Adapters adapters = ModelFlags.adapt(lm, adapter, spec.commandLine().getErr());
            try {
                if (keepFormat) {
                    mergeStored(lm, adapters);
                } else {
                    mergeFloats(lm, adapters);
                }
            } catch (UnsupportedOperationException e) {
                throw new IllegalArgumentException(adapter + ": " + e.getMessage(), e);
            }
            spec.commandLine().getOut().println("Merged model written to " + output);
        }
        return 0;
    }

    private void check() {
        if (keepFormat && (format != null || dtype != null)) {
            throw new IllegalArgumentException(
                    (format != null ? "--format" : "--dtype") + " does not go with --keep-format");
        }
        ModelFlags.requireType(dtype, gguf());
        if (!rounds() && (probe != null || bound != null)) {
            throw new IllegalArgumentException((probe != null ? "--probe" : "--bound")
                    + " needs --keep-format, or a --dtype in which numbers are rounded");
        }
        if (bound != null && !(bound >= 0)) {
            throw new IllegalArgumentException("--bound " + bound + " must be at least 0");
        }
    }

    /** True if the merged numbers are rounded on their way into the file. */
    private boolean rounds() {
        return keepFormat || dtype != null && dtype != DType.F32;
    }

    private int[] probe(Pretrained lm) {
        int[] ids = lm.tokenizer().encode(probe == null ? PROBE : probe);
        if (ids.length == 0) {
            throw new IllegalArgumentException("--probe is empty");
        }
        return ids;
    }

    /** All of the model in one type. What a type that rounds does to the logits is measured on the file. */
    private void mergeFloats(Pretrained lm, Adapters adapters) {
        if (!rounds()) {
            merge(adapters);
            write(lm);
            return;
        }
        int[] ids = probe(lm);
        float[] applied = logits(lm, ids);
        double effect;
        try (var _ = adapters.disabled()) {
            effect = largest(logits(lm, ids), applied);
        }
        merge(adapters);
        write(lm);
        double difference = written(ids, applied);
        if (bound != null && !(difference <= bound)) {
            delete(output);
            throw new IllegalArgumentException("--dtype " + dtype + ": " + differs(difference, effect) + "; --bound "
                    + bound + " refuses that; with f32 nothing is lost");
        }
        PrintWriter out = spec.commandLine().getOut();
        out.println("Rounded to " + dtype + ": " + differs(difference, effect) + ".");
        if (!(difference <= effect / 2)) {
            out.println(
                    "Warning: that is more than half of what the adapter does: much of what it learnt may be lost.");
        }
    }

    private void merge(Adapters adapters) {
        try (Progress progress = merging()) {
            adapters.merge(progress::layer);
        }
    }

    private Progress merging() {
        return new Progress(spec.commandLine().getErr(), "merging", Progress.UNKNOWN, 0);
    }

    private boolean gguf() {
        return keepFormat ? Files.isRegularFile(model) : format == Format.gguf;
    }

    /** Throws if --quantize holds matrices in a format that the kind of the base's file has no place for. */
    private void requirePlace(Pretrained lm) {
        lm.model().root().find(Linear.class).forEach((path, linear) -> {
            Weight w = linear.weight();
            boolean place = gguf() ? w.blocks().isPresent() : w.folderForm().isPresent();
            if (!place && !FormatName.FLOATS.matcher(w.format()).matches()) {
                throw new IllegalArgumentException("--keep-format: a " + (gguf() ? "GGUF file" : "folder")
                        + " cannot hold " + w.format() + " (" + path + "); without --keep-format floats are written");
            }
        });
    }

    private void mergeStored(Pretrained lm, Adapters adapters) {
        requirePlace(lm);
        int[] ids = probe(lm);
        float[] applied = logits(lm, ids);
        // The bound is judged here, where its sentence can name the flags.
        MergeReport report;
        try (Progress progress = merging()) {
            report = adapters.merge(() -> lm.model().logits(Tokens.of(ids)), Double.POSITIVE_INFINITY, progress::layer);
        }
        requireWithin(report.difference(), report);
        write(lm);
        double difference = written(ids, applied); // norms and biases are rounded only now
        try {
            requireWithin(difference, report);
        } catch (IllegalArgumentException e) {
            delete(output);
            throw e;
        }
        PrintWriter out = spec.commandLine().getOut();
        int erased = report.erased().size(), all = report.layers().size();
        out.println("Merged " + all + " matrices in " + formats(report) + ": " + differs(difference, report.effect())
                + ".");
        if (erased > 0) {
            out.println("Warning: rounding is more than half of the update in " + erased + " of " + all
                    + " matrices: most of what they learnt is lost.");
        }
    }

    private void requireWithin(double difference, MergeReport report) {
        double most = bound == null ? 0.5 : bound;
        if (!(difference <= most)) {
            throw new IllegalArgumentException("--keep-format: " + differs(difference, report.effect())
                    + ", and rounding is more than half of the update in "
                    + report.erased().size() + " of " + report.layers().size() + " matrices; --bound " + most
                    + " refuses that; without --keep-format floats are written and nothing is lost");
        }
    }

    private static String differs(double difference, double effect) {
        return String.format(
                Locale.ROOT,
                "a logit of the probe differs by %.3g at most, where the whole effect of the adapter is %.3g",
                difference,
                effect);
    }

    private static float[] logits(Pretrained lm, int[] ids) {
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            return lm.model().logits(Tokens.of(ids)).toArray();
        }
    }

    /** Largest difference of a logit between the files that were written and the adapter applied. */
    private double written(int[] ids, float[] applied) {
        try (Pretrained lm = Pretrained.load(output)) {
            return largest(logits(lm, ids), applied);
        }
    }

    private static double largest(float[] a, float[] b) {
        double most = 0;
        for (int i = 0; i < a.length; i++) {
            double d = Math.abs((double) a[i] - b[i]);
            most = d > most || Double.isNaN(d) ? d : most;
        }
        return most;
    }

    private static void delete(Path written) {
        try {
            Folders.delete(written);
        } catch (IOException e) {
            throw new UncheckedIOException(written.toString(), e);
        }
    }

    /** "Q4_0, Q2_K (only read, now F32)". */
    private static String formats(MergeReport report) {
        return report.layers().stream()
                .map(l -> l.format() + (l.widened() ? " (only read, now F32)" : ""))
                .distinct()
                .collect(Collectors.joining(", "));
    }

    private void write(Pretrained lm) {
        DType type = keepFormat ? QuantizeCommand.stored(lm) : dtype == null ? DType.F32 : dtype;
        ModelFlags.save(lm, output, gguf(), type, spec.commandLine().getErr());
    }
}
