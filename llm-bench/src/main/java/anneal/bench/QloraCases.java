package anneal.bench;

import anneal.data.Batch;
import anneal.model.Decoder;
import anneal.model.DecoderConfig;
import anneal.model.Family;
import anneal.model.Init;
import anneal.model.WeightSource;
import anneal.nn.Linear;
import anneal.nn.Weight;
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

    /** Some steps of the 1.1 billion parameters of TinyLlama's shape. */
    static void llama1b(Report report, Part part) {
        DecoderConfig shape = DecoderConfig.builder(Family.LLAMA)
                .vocabSize(32_000)
                .hiddenSize(2048)
                .feedForwardSize(5632)
                .layers(22)
                .heads(32, 4, 64)
                .contextLength(2048)
                .build();
        random(report, "llama-1b-" + part.text(), shape, part);
    }

    /** Some steps of the 3.4 billion parameters of OpenLLaMA's shape, with all parts. */
    static void llama3b(Report report) {
        DecoderConfig shape = DecoderConfig.builder(Family.LLAMA)
                .vocabSize(32_000)
                .hiddenSize(3200)
                .feedForwardSize(8640)
                .layers(26)
                .heads(32)
                .contextLength(2048)
                .build();
        random(report, "llama-3b-qlora", shape, Part.CHECKPOINTS);
    }

    private static void random(Report report, String name, DecoderConfig shape, Part part) {
        Decoder model = new Decoder(shape, quantized(shape, part));
        model.freeze();
        train(report, name + " B1T" + LONG, model, part, ModelCases.randomBatch(model.vocabSize(), 1, LONG), 1, 2);
    }

    /** Random weights, each rounded as soon as it is made: no more than one matrix is ever held in floats. */
    private static WeightSource quantized(DecoderConfig shape, Part part) {
        WeightSource floats = new Init.Xavier().weights(shape, 0, Arena.ofAuto());
        if (part == Part.BASE) {
            return floats;
        }
        Nf4 format = new Nf4(Nf4.USUAL_BLOCK, part.with(Part.DOUBLE_QUANT));
        return new WeightSource() {
            @Override
            public Weight matrix(String name, int out, int in, Role role) {
                if (role == Role.EMBEDDING || role == Role.HEAD) {
                    return floats.matrix(name, out, in, role);
                }
                try (Arena one = Arena.ofShared()) {
                    Weight weight = new Init.Xavier().weights(shape, 0, one).matrix(name, out, in, role);
                    return format.quantize(weight.matrix(), Arena.ofAuto());
                }
            }

            @Override
            public Tensor vector(String name, int size, float fresh) {
                return floats.vector(name, size, fresh);
            }
        };
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
            return Files.createTempDirectory("anneal-pages");
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
