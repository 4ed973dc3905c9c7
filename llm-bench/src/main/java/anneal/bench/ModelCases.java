package anneal.bench;

import anneal.NextToken;
import anneal.Pretrained;
import anneal.data.Batch;
import anneal.kernels.Compute;
import anneal.model.Decoder;
import anneal.model.DecoderConfig;
import anneal.model.Family;
import anneal.model.Init;
import anneal.model.KvCache;
import anneal.model.Tokens;
import anneal.nn.Linear;
import anneal.peft.Lora;
import anneal.quant.QuantFormat;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import anneal.train.AdamW;
import anneal.train.Schedule;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/** Whole steps of GPT-2 124M and SmolLM2-135M. */
final class ModelCases {
    private static final int VOCABULARY = 49_152;
    static final int WARM_STEPS = 3;
    static final int TIMED_STEPS = 5;
    private static final int PROMPT = 64;
    private static final int NEW_TOKENS = 128;

    private ModelCases() {}

    private static DecoderConfig gpt2() {
        return DecoderConfig.builder(Family.GPT2)
                .vocabSize(50_257)
                .hiddenSize(768)
                .feedForwardSize(3072)
                .layers(12)
                .heads(12)
                .contextLength(1024)
                .build();
    }

    private static DecoderConfig smollm() {
        return DecoderConfig.builder(Family.LLAMA)
                .vocabSize(VOCABULARY)
                .hiddenSize(576)
                .feedForwardSize(1536)
                .layers(30)
                .heads(9, 3, 64)
                .contextLength(8192)
                .theta(100_000)
                .tied(true)
                .build();
    }

    private static Decoder random(DecoderConfig config) {
        return new Decoder(config, Init.usual(config).weights(config, 0, Arena.ofAuto()));
    }

    /** The model of this file, or one of its shape with random weights; it stays open as long as the benchmark runs. */
    static Decoder load(Path model) {
        if (model == null) {
            Decoder random = random(smollm());
            random.freeze();
            return random;
        }
        return Pretrained.load(model).model();
    }

    static void gpt2Train(Report report) {
        Decoder model = random(gpt2());
        for (int t : new int[] {64, 256}) {
            train(report, "gpt2-train B4T" + t, model, model.parameters(), 4, t);
        }
    }

    static void lora(Report report, Path path) {
        Decoder model = load(path);
        train(
                report,
                Tape.compute() == Compute.F32 ? "smollm-lora-float32 B4T256" : "smollm-lora B4T256",
                model,
                Lora.rank(16).alpha(32).on("all-linear").attach(model).parameters(),
                4,
                256);
    }

    static void sft(Report report, Path path) {
        Decoder model = load(path).train(Arena.ofAuto());
        train(report, "smollm-sft B4T256", model, model.parameters(), 4, 256);
    }

    /** Full AdamW steps on random tokens. */
    private static void train(Report report, String name, Decoder model, Map<String, Tensor> parameters, int b, int t) {
        TrainConfig.Builder config = TrainConfig.builder().steps(WARM_STEPS + TIMED_STEPS);
        try (Trainer trainer = new Trainer(parameters, new AdamW(0.9, 0.999, 1e-8, 0.01), usual(config))) {
            steps(report, name, trainer, model, randomBatch(model.vocabSize(), b, t), TIMED_STEPS);
        }
    }

    /** What all timed trainings have in common. */
    static TrainConfig usual(TrainConfig.Builder config) {
        return config.schedule(new Schedule.Constant(1e-4, 0))
                .compute(Tape.compute())
                .logEvery(1)
                .build();
    }

    /** Every token is a target but the last of each row. */
    static Batch randomBatch(int vocabulary, int b, int t) {
        int[] ids = ids(b * t, vocabulary);
        int[] targets = new int[b * t], segments = new int[b * t], positions = new int[b * t];
        for (int i = 0; i < ids.length; i++) {
            targets[i] = i % t == t - 1 ? -1 : ids[i + 1];
            positions[i] = i % t;
        }
        return new Batch(ids, targets, segments, positions, b, t, List.of());
    }

    /** Trains and prints tokens a second of the last steps. */
    static void steps(Report report, String name, Trainer trainer, Decoder model, Batch batch, int timed) {
        List<Double> rates = new ArrayList<>();
        long[] before = {System.nanoTime()};
        trainer.onStep(step -> {
            long now = System.nanoTime();
            rates.add(batch.ids().length / ((now - before[0]) * 1e-9));
            before[0] = now;
        });
        trainer.fit(epoch -> List.of(batch).iterator(), new NextToken(model));
        report.print(Bench.named(name), "tokens/s", rates.subList(rates.size() - timed, rates.size()));
    }

    static void prefill(Report report, Path path) {
        Decoder model = load(path);
        int[] ids = ids(512, VOCABULARY);
        report.rate(Bench.named("smollm-prefill T512"), "tokens/s", ids.length, new Report.Runs(5, 7), () -> {
            try (Memory.Scope scope = Memory.scope();
                    Tape.Pause pause = Tape.pause()) {
                Tensor hidden = model.hidden(Tokens.of(ids), null);
                model.logits(Ops.rows(hidden.view(ids.length, hidden.rowSize()), new int[] {ids.length - 1}));
            }
        });
    }

    static void decode(Report report, Path path) {
        decode(report, "smollm-decode", load(path));
    }

    /** Greedy decoding of a random model in this format; a token reads all matrices but the embedding once. */
    static void decode(Report report, QuantFormat format) {
        Decoder model = RandomLlama.create(RandomLlama.B1, format, Set.of());
        model.freeze();
        double bytes = model.find(Linear.class).values().stream()
                .mapToLong(l -> l.weight().matrix().bytes())
                .sum();
        decode(report, String.format(Locale.ROOT, "llama-1b-decode-%s %.3fGB", format.name(), bytes / 1e9), model);
    }

    private static void decode(Report report, String name, Decoder model) {
        int[] prompt = ids(PROMPT, model.vocabSize());
        report.rate(Bench.named(name), "tokens/s", NEW_TOKENS, new Report.Runs(2, 3), () -> {
            try (KvCache cache = model.cache(1, PROMPT + NEW_TOKENS);
                    Tape.Pause pause = Tape.pause()) {
                int next = greedy(model, prompt, cache);
                for (int i = 1; i < NEW_TOKENS; i++) {
                    next = greedy(model, new int[] {next}, cache);
                }
            }
        });
    }

    private static int greedy(Decoder model, int[] ids, KvCache cache) {
        try (Memory.Scope scope = Memory.scope()) {
            Tensor hidden = model.hidden(Tokens.of(ids), cache);
            float[] logits = model.logits(
                            Ops.rows(hidden.view(ids.length, hidden.rowSize()), new int[] {ids.length - 1}))
                    .toArray();
            int best = 0;
            for (int i = 1; i < logits.length; i++) {
                best = logits[i] > logits[best] ? i : best;
            }
            return best;
        }
    }

    private static int[] ids(int n, int vocabulary) {
        Rng rng = new Rng(0);
        int[] ids = new int[n];
        Arrays.setAll(ids, i -> rng.nextInt(vocabulary));
        return ids;
    }
}
