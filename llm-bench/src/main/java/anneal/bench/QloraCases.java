package anneal.bench;

import static anneal.model.WeightSource.Role.HEAD;

import anneal.data.Batch;
import anneal.model.Decoder;
import anneal.model.DecoderConfig;
import anneal.nn.Linear;
import anneal.peft.Lora;
import anneal.quant.Nf4;
import anneal.tensor.Tensor;
import anneal.train.AdamW;
import anneal.train.AdamW8bit;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import anneal.train.UpdateRule;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.Locale;
import java.util.Map;

/** QLoRA steps of SmolLM2-135M and of larger LLaMA shapes, and what each of its parts saves. */
final class QloraCases {
    private static final int LONG = 512;

    private QloraCases() {}

    /** The parts of QLoRA, each added to those before it. */
    enum Part {
        /** LoRA on all linear layers of a base in floats. */
        BASE,
        NF4,
        DOUBLE_QUANT,
        ADAMW_8BIT,
        /** The optimiser's state in a file that is mapped to memory. */
        PAGED,
        /** Activations of a block are computed again in the backward pass. */
        CHECKPOINTS;

        /** As it stands in the names of cases. */
        String text() {
            return name().toLowerCase(Locale.ROOT).replace('_', '-');
        }

        private boolean with(Part other) {
            return compareTo(other) >= 0;
        }
    }

    /**
     * SmolLM2-135M. Weights that are quantised already, as in a GGUF file, are rounded again: what they lose does not matter here.
     */
    static void smollm(Report report, Path path) {
        Decoder model = ModelCases.load(path);
        Nf4 format = new Nf4(Nf4.USUAL_BLOCK, true);
        model.find(Linear.class).forEach((name, layer) -> {
            if (!name.equals("lm_head")) {
                layer.weight(format.quantize(layer.weight().matrix(), Arena.ofAuto()));
            }
        });
        Batch batch = ModelCases.randomBatch(model.vocabSize(), 4, 256);
        train(
                report,
                "smollm-qlora B4T256",
                model,
                Part.DOUBLE_QUANT,
                batch,
                ModelCases.WARM_STEPS,
                ModelCases.TIMED_STEPS);
    }

    /** Some steps of {@link RandomLlama#B1}. */
    static void llama1b(Report report, Part part) {
        random(report, "llama-1b-" + part.text(), RandomLlama.B1, part);
    }

    /** Some steps of {@link RandomLlama#B3} with all parts. */
    static void llama3b(Report report) {
        random(report, "llama-3b-qlora", RandomLlama.B3, Part.CHECKPOINTS);
    }

    private static void random(Report report, String name, DecoderConfig shape, Part part) {
        Nf4 format = new Nf4(Nf4.USUAL_BLOCK, part.with(Part.DOUBLE_QUANT));
        Decoder model = RandomLlama.create(shape, part == Part.BASE ? null : format, EnumSet.of(HEAD));
        model.freeze();
        train(report, name + " B1T" + LONG, model, part, ModelCases.randomBatch(model.vocabSize(), 1, LONG), 1, 2);
    }

    private static void train(Report report, String name, Decoder model, Part part, Batch batch, int warm, int timed) {
        model.checkpointing(part.with(Part.CHECKPOINTS));
        Map<String, Tensor> parameters =
                Lora.rank(16).alpha(32).on("all-linear").attach(model).parameters();
        UpdateRule rule = part.with(Part.ADAMW_8BIT) ? new AdamW8bit(0.01) : new AdamW(0.9, 0.999, 1e-8, 0.01);
        TrainConfig.Builder config = TrainConfig.builder().steps(warm + timed);
        if (part.with(Part.PAGED)) {
            config.optimizerPages(temporary());
        }
        try (Trainer trainer = new Trainer(parameters, rule, ModelCases.usual(config))) {
            ModelCases.steps(report, name, trainer, model, batch, timed);
        }
    }

    private static Path temporary() {
        try {
            Path folder = Files.createTempDirectory("anneal-pages");
            folder.toFile().deleteOnExit(); // the trainer takes its own file away
            return folder;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
