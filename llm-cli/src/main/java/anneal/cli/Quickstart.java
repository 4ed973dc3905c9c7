package anneal.cli;

import anneal.NextToken;
import anneal.Pretrained;
import anneal.data.Batches;
import anneal.data.Jsonl;
import anneal.generate.Generation;
import anneal.generate.Sampling;
import anneal.io.Folders;
import anneal.io.Json;
import anneal.model.DecoderConfig;
import anneal.model.Family;
import anneal.peft.Adapters;
import anneal.peft.Lora;
import anneal.tensor.Tensor;
import anneal.text.BpeTrainer;
import anneal.text.ChatTemplate;
import anneal.text.Message;
import anneal.text.Tokenizer;
import anneal.train.AdamW;
import anneal.train.Schedule;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Stream;

/** From nothing to a fine-tuned model: text, tokenizer, pretraining, LoRA, and the share of right answers before and after. */
final class Quickstart {
    private static final String END = "<|im_end|>";
    private static final int VOCABULARY = 1024;
    private static final int CONTEXT = 128;
    private static final int ANSWER_TOKENS = 8;

    private final PrintWriter out;
    private final Path dir;
    private final long seed;
    private final int steps;
    private final World world;
    private final long started = System.nanoTime();

    /** A quickstart that writes to {@code dir} and makes this many steps of pretraining. */
    public Quickstart(PrintWriter out, Path dir, long seed, int steps) {
        if (steps < 1) {
            throw new IllegalArgumentException("--steps " + steps + " must be at least 1");
        }
        this.out = out;
        this.dir = dir;
        this.seed = seed;
        this.steps = steps;
        this.world = new World(seed);
    }

    /** Accuracy on held-out instructions. */
    public record Result(double before, double after) {}

    /** Runs all of it. */
    public Result run() {
        prepare();
        List<String> documents = world.documents(24);
        write("text.txt", documents);
        write("instructions.jsonl", chats(world.trainingItems()));
        write("held-out.jsonl", chats(world.heldOutItems()));
        say(
                "Wrote %d lines of text and %d instructions about a world of facts; %d more instructions are held out.",
                documents.size(),
                world.trainingItems().size(),
                world.heldOutItems().size());

        Tokenizer tokenizer = new BpeTrainer(VOCABULARY)
                .specialTokens("<|endoftext|>", "<|im_start|>", END)
                .eos(END)
                .pad("<|endoftext|>")
                .train(documents);
        say("Learnt a tokenizer of %d tokens.", tokenizer.vocabSize());

        try (Pretrained lm =
                Pretrained.create(config(tokenizer), tokenizer, seed).chatTemplate(ChatTemplate.chatml())) {
            say(
                    "Training a model of %,d parameters from scratch ...",
                    lm.model().config().parameterCount());
            Batches text = Jsonl.read(dir.resolve("text.txt"))
                    .encode(tokenizer)
                    .wrap(CONTEXT)
                    .batches(4)
                    .shuffled(seed);
            train(lm, lm.model().root().parameters(), text, steps, 4e-3, "pretraining");
            lm.save(dir.resolve("model"));
            return fineTune(lm);
        }
    }

    private Result fineTune(Pretrained lm) {
        List<String> untaught = answers(lm);
        double before = accuracy(untaught);
        say(
                "It knows the facts but not the instructions: %.0f %% of %d held-out answers are right.",
                100 * before, untaught.size());
        lm.model().root().freeze();
        Adapters adapters = Lora.rank(8)
                .alpha(16)
                .on("all-linear")
                .baseModel(dir.resolve("model").toString())
                .attach(lm.model().root(), seed);
        Batches chats = Jsonl.chats(dir.resolve("instructions.jsonl"))
                .encode(lm.chat())
                .pack(CONTEXT)
                .batches(8)
                .shuffled(seed);
        say("Fine-tuning with LoRA on instructions about other people and sums ...");
        train(lm, adapters.parameters(), chats, Math.max(1, steps / 12), 1e-3, "fine-tuning");
        adapters.save(dir.resolve("adapter"));
        List<String> taught = answers(lm);
        double after = accuracy(taught);
        show(untaught, taught);
        say("Right answers on held-out instructions: %.0f %% before, %.0f %% after.", 100 * before, 100 * after);
        out.println();
        out.println("Text, model, adapter and loss plots (pretraining.png, fine-tuning.png) are in " + dir);
        out.println("Ask it: anneal chat --model " + dir.resolve("model") + " --adapter " + dir.resolve("adapter"));
        return new Result(before, after);
    }

    private DecoderConfig config(Tokenizer tokenizer) {
        int end = tokenizer.eos().orElseThrow();
        return DecoderConfig.builder(Family.LLAMA)
                .vocabSize(tokenizer.vocabSize())
                .hiddenSize(160)
                .feedForwardSize(448)
                .layers(3)
                .heads(5, 5, 32)
                .contextLength(CONTEXT)
                .initRange(0.05)
                .tied(true)
                .tokens(new DecoderConfig.SpecialTokens(
                        -1, new int[] {end}, tokenizer.pad().orElse(end)))
                .build();
    }

    private void train(
            Pretrained lm, Map<String, Tensor> parameters, Batches data, int count, double rate, String name) {
        TrainConfig config = TrainConfig.builder()
                .steps(count)
                .schedule(new Schedule.Cosine(rate, Math.max(1, count / 20)))
                .seed(seed)
                .logEvery(5)
                .build();
        LossPlot plot = new LossPlot();
        try (Trainer trainer = new Trainer(parameters, new AdamW(0.9, 0.99, 1e-8, 0.01), config);
                Progress progress = new Progress(out, name, count, 0)) {
            trainer.onStep(report -> {
                progress.step(report);
                plot.train(report.step(), report.loss());
            });
            trainer.fit(data, new NextToken(lm.model()));
        }
        plot.write(dir.resolve(name + ".png"), "Loss of " + name);
    }

    private List<String> answers(Pretrained lm) {
        List<int[]> prompts = world.heldOutItems().stream()
                .map(item -> lm.chat().prompt(List.of(Message.user(item.question()))))
                .toList();
        List<String> answers = new ArrayList<>();
        for (Generation g : lm.generator().generate(prompts, Sampling.greedy(ANSWER_TOKENS))) {
            answers.add(lm.tokenizer().decode(g.tokens()).strip());
        }
        return answers;
    }

    private double accuracy(List<String> answers) {
        List<World.Item> items = world.heldOutItems();
        int right = 0;
        for (int i = 0; i < items.size(); i++) {
            right += answers.get(i).equals(items.get(i).answer()) ? 1 : 0;
        }
        return (double) right / items.size();
    }

    private void show(List<String> before, List<String> after) {
        List<World.Item> items = world.heldOutItems();
        out.println();
        for (int i = 0; i < items.size(); i += Math.max(1, items.size() / 6)) {
            out.printf(
                    "  %-40s before: %-28s after: %s%n",
                    items.get(i).question(), BeforeAfter.oneLine(before.get(i)), BeforeAfter.oneLine(after.get(i)));
        }
        out.println();
    }

    private static List<String> chats(List<World.Item> items) {
        return items.stream()
                .map(item -> Json.line(Map.of(
                        "messages",
                        List.of(
                                Map.of("role", "user", "content", item.question()),
                                Map.of("role", "assistant", "content", item.answer())))))
                .toList();
    }

    /** Makes the folder, without what an earlier run left in it; a folder of something else is left alone. */
    private void prepare() {
        try {
            boolean ours = Files.exists(dir.resolve("held-out.jsonl"));
            if (Files.isDirectory(dir) && !ours) {
                try (Stream<Path> files = Files.list(dir)) {
                    if (files.findAny().isPresent()) {
                        throw new IllegalArgumentException(
                                dir + ": holds something that is not a quickstart: name another folder");
                    }
                }
            }
            if (ours) {
                Folders.delete(dir);
            }
            Files.createDirectories(dir);
        } catch (IOException e) {
            throw new UncheckedIOException(dir.toString(), e);
        }
    }

    private void write(String name, List<String> lines) {
        try {
            Files.write(dir.resolve(name), lines);
        } catch (IOException e) {
            throw new UncheckedIOException(dir.resolve(name).toString(), e);
        }
    }

    private void say(String format, Object... values) {
        out.printf(
                Locale.ROOT,
                "[%s] %s%n",
                Progress.time((System.nanoTime() - started) * 1e-9),
                String.format(Locale.ROOT, format, values));
        out.flush();
    }
}
