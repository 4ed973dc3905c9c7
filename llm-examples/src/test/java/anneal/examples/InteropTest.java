package anneal.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import anneal.Pretrained;
import anneal.TinyModel;
import anneal.distill.HeadPruning;
import anneal.distill.WidthPruning;
import anneal.io.Gguf;
import anneal.io.SafetensorsWriter;
import anneal.io.StoredTensor;
import anneal.kernels.Matrix;
import anneal.model.Decoder;
import anneal.model.DecoderConfig;
import anneal.model.Family;
import anneal.model.SequenceClassifier;
import anneal.model.Tokens;
import anneal.peft.AdaLora;
import anneal.peft.Adapters;
import anneal.peft.Ia3;
import anneal.peft.LnTuning;
import anneal.peft.LoHa;
import anneal.peft.LoKr;
import anneal.peft.Lora;
import anneal.peft.LoraInit;
import anneal.peft.Method;
import anneal.peft.Osf;
import anneal.peft.PTuning;
import anneal.peft.PrefixTuning;
import anneal.peft.PromptTuning;
import anneal.peft.TrainableTokens;
import anneal.peft.Vera;
import anneal.quant.QuantFormat;
import anneal.quant.Quantizer;
import anneal.quant.post.ZeroQuant;
import anneal.tensor.DType;
import anneal.tensor.Memory;
import anneal.tensor.Rng;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.BiFunction;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What we write opens in PEFT, transformers and gguf, with our numbers: where a Python that has them is installed. */
class InteropTest {
    private static final String PYTHON = System.getenv().getOrDefault("ANNEAL_PYTHON", "python3");

    private static final int[] IDS = {5, 1, 17, 9, 30, 2, 8, 44, 21, 3, 11, 6};

    /** The second one ends after three tokens: what follows is padding. */
    private static final int[] TEXTS = {5, 1, 17, 9, 30, 2, 8, 44, 21, 0, 0, 0};
    /** What GGUF files are written in. */
    private static final List<String> QUANTISED =
            List.of("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q4_k", "q5_k", "q6_k");

    /** What compressed-tensors' folders are written in. */
    private static final List<String> PACKED = List.of(
            "int4-g128",
            "int4-g32-asym",
            "int4-row",
            "int4-row-asym",
            "int8-g64",
            "int8-g64-asym",
            "int8-row",
            "int3-g64",
            "int3-g64-asym");

    @TempDir
    private static Path dir;

    /** One adapter of each kind of file. */
    private static Map<String, Method> methods() {
        Map<String, Method> all = new TreeMap<>();
        all.put("lora", Lora.rank(4).alpha(8).on("all-linear").build());
        all.put(
                "lora-rslora",
                Lora.rank(4).alpha(8).rsLora().on("q_proj", "v_proj").build());
        all.put(
                "lora-dora",
                Lora.rank(4).alpha(8).dora().on("q_proj", "down_proj").build());
        all.put("lora-head", Lora.rank(4).alpha(8).on("q_proj").save("lm_head").build());
        all.put(
                "lora-embedding-dora",
                Lora.rank(4).alpha(8).dora().on("embed_tokens", "q_proj").build());
        all.put(
                "lora-eva",
                Lora.rank(4)
                        .alpha(8)
                        .init(new LoraInit.Eva())
                        .on("q_proj", "o_proj", "down_proj")
                        .build());
        all.put("adalora-head", AdaLora.rank(2).on("q_proj").save("lm_head").build());
        all.put("ia3-head", Ia3.at("k_proj").save("lm_head").build());
        all.put("vera-head", Vera.rank(8).on("q_proj").save("lm_head").build());
        all.put("loha-head", LoHa.rank(2).on("q_proj").save("lm_head").build());
        all.put("lokr-head", LoKr.rank(2).on("q_proj").save("lm_head").build());
        all.put("ln-tuning-embedding", LnTuning.at("norm").save("embed_tokens").build());
        all.put("adalora", AdaLora.rank(2).on("q_proj", "v_proj").build());
        all.put(
                "ia3",
                Ia3.at("k_proj", "v_proj", "down_proj").feedForward("down_proj").build());
        all.put("vera", Vera.rank(8).on("q_proj", "v_proj").build());
        all.put("loha", LoHa.rank(2).alpha(4).on("q_proj", "v_proj").build());
        all.put("lokr", LoKr.rank(2).alpha(4).on("q_proj", "v_proj").build());
        all.put("osf", Osf.part(0.75).on("q_proj", "down_proj").build());
        all.put("ln-tuning", LnTuning.everywhere());
        all.put("tokens", TrainableTokens.of(1, 5));
        all.put("prefix", PrefixTuning.tokens(3).build());
        all.put("prompt", PromptTuning.tokens(3).build());
        all.put("p-tuning", PTuning.tokens(3).build());
        return all;
    }

    @BeforeAll
    static void python() throws Exception {
        boolean there;
        try {
            there = run("-c", "import torch, transformers, peft, gguf").isEmpty();
        } catch (IOException e) {
            there = false;
        }
        String missing =
                "interop: " + PYTHON + " has no torch, transformers, peft, gguf; ANNEAL_PYTHON names one that has";
        if (!there) {
            System.out.println(missing);
        }
        assumeTrue(there, missing);
    }

    @Test
    void whatWeWriteOpensElsewhere() throws Exception {
        Path base = TinyModel.write(dir.resolve("base"));
        List<String> names = new ArrayList<>();
        for (Map.Entry<String, Method> e : methods().entrySet()) {
            names.add(e.getKey());
            try (Pretrained lm = Pretrained.load(base)) {
                Adapters adapters = attach(e.getValue(), lm.model());
                disturb(adapters);
                adapters.save(dir.resolve("adapters").resolve(e.getKey()));
                logits(lm.model(), e.getKey());
            }
        }
        names.add("merged");
        try (Pretrained lm = Pretrained.load(base)) {
            Adapters adapters = Lora.rank(2).on("all-linear").attach(lm.model().root(), 1);
            disturb(adapters);
            adapters.merge();
            lm.save(dir.resolve("merged").resolve("merged"));
            logits(lm.model(), "merged");
        }
        names.add("classifier");
        try (Pretrained lm = Pretrained.load(base);
                Arena arena = Arena.ofShared()) {
            SequenceClassifier model = new SequenceClassifier(lm.model(), 3, 0, arena, 1);
            Adapters adapters = Lora.rank(2).on("all-linear").attach(model, 1);
            disturb(adapters);
            adapters.merge();
            lm.save(
                    model,
                    List.of("bad", "good", "so so"),
                    dir.resolve("classifiers").resolve("classifier"));
            try (var _ = Memory.scope();
                    var _ = Tape.pause()) {
                write("classifier", TEXTS, model.logits(Tokens.of(TEXTS, 2, 6)));
            }
        }
        names.addAll(pruned(base));
        for (DType type : List.of(DType.F32, DType.F16, DType.BF16, DType.Q8_0)) {
            names.add("gguf-all-" + type);
            gguf(base, "gguf-all-" + type, lm -> lm, type);
        }
        Path wide = wide(dir.resolve("wide"));
        for (String format : QUANTISED) {
            names.add("gguf-" + format);
            gguf(
                    wide,
                    "gguf-" + format,
                    lm -> Quantizer.format(QuantFormat.of(format))
                            .except("lm_head")
                            .apply(lm.model()),
                    DType.F32);
        }
        String script = Path.of("src", "test", "python", "interop.py").toString();
        String printed = run(script, dir.toString());
        Map<String, Double> worst = worst(printed);
        System.out.println("interop " + worst);
        assertThat(worst.keySet()).as(printed).containsExactlyInAnyOrderElementsOf(names);
        assertThat(worst.values()).allSatisfy(d -> assertThat(d).isLessThan(5e-5));
    }

    /** Integers by groups: transformers opens the packed folders. */
    @Test
    void transformersOpensPackedIntegers() throws Exception {
        boolean there = run("-c", "import compressed_tensors").isEmpty();
        String missing = "interop: " + PYTHON + " has no compressed_tensors (pip install compressed-tensors)";
        if (!there) {
            System.out.println(missing);
        }
        assumeTrue(there, missing);
        Path base = wide(dir.resolve("packed-base"));
        Path packed = dir.resolve("packed");
        for (String format : PACKED) {
            try (Pretrained lm = Pretrained.load(base)) {
                Quantizer.format(QuantFormat.of(format)).except("lm_head").apply(lm.model());
                lm.save(packed.resolve(format));
                logits(lm.model(), format);
            }
        }
        for (int bits : List.of(8, 4)) {
            String name = "w" + bits + "a8-g64";
            try (Pretrained lm = Pretrained.load(base)) {
                Runnable forward = () -> lm.model().logits(Tokens.of(IDS, 2, 6));
                new ZeroQuant(bits, bits, 64, null).apply(lm.model().root(), path -> !path.equals("lm_head"), forward);
                lm.save(packed.resolve(name));
                logits(lm.model(), name);
            }
        }
        String script = Path.of("src", "test", "python", "interop.py").toString();
        Map<String, Double> worst = worst(run(script, dir.toString(), "packed"));
        System.out.println("interop " + worst);
        assertThat(worst)
                .hasSize(PACKED.size() + 2)
                .allSatisfy((name, d) -> assertThat(d)
                        .as(name)
                        .isLessThan(
                                name.startsWith("w")
                                        ? 0.05
                                        : 5e-5)); // a sum in another order may round an input to the next code
    }

    /** Differences by name, of the lines "NAME worst DIFFERENCE". */
    private static Map<String, Double> worst(String printed) {
        Map<String, Double> worst = new LinkedHashMap<>();
        printed.lines().filter(l -> l.contains(" worst ")).forEach(line -> {
            String[] words = line.split(" ");
            worst.put(words[0], Double.parseDouble(words[2]));
        });
        return worst;
    }

    /** A model whose rows are whole K blocks. */
    private static Path wide(Path folder) {
        DecoderConfig config = DecoderConfig.builder(Family.LLAMA)
                .vocabSize(TinyModel.VOCABULARY)
                .hiddenSize(256)
                .feedForwardSize(512)
                .layers(1)
                .heads(4, 2, 64)
                .contextLength(TinyModel.CONTEXT)
                .initRange(0.1)
                .build();
        try (Pretrained lm = Pretrained.create(config, TinyModel.tokenizer(), 5)) {
            lm.save(folder);
        }
        return folder;
    }

    /** llama.cpp loads a file of ours and computes our logits, but for what it rounds: inputs to 8 bits, keys and values to 16. */
    @Test
    void llamaCppRunsAFileOfOurs() throws Exception {
        boolean there = run("-c", "import llama_cpp").isEmpty();
        String missing = "interop: " + PYTHON + " has no llama_cpp (pip install llama-cpp-python)";
        if (!there) {
            System.out.println(missing);
        }
        assumeTrue(there, missing);
        Path folder = wide(dir.resolve("run"));
        // keys and values in 16 bits are all that is rounded of floats; of Q4_K inputs are too, which changes our own
        // logits by 0.02
        assertThat(inLlamaCpp(folder, "f32", lm -> lm)).isLessThan(3e-3);
        assertThat(inLlamaCpp(folder, "q4_k", lm -> {
                    Quantizer.format(QuantFormat.of("q4_k")).except("lm_head").apply(lm.model());
                    return lm;
                }))
                .isLessThan(0.1);
    }

    /** The largest difference of a logit, as part of the largest logit. */
    private static double inLlamaCpp(Path folder, String name, UnaryOperator<Pretrained> change) throws Exception {
        Path file = dir.resolve(name + ".gguf");
        try (Pretrained lm = Pretrained.load(folder)) {
            change.apply(lm).saveGguf(file, DType.F32);
            logits(lm.model(), "llama-" + name);
        }
        Path logits = dir.resolve("logits").resolve("llama-" + name + ".safetensors");
        String printed =
                run(Path.of("src", "test", "python", "llama.py").toString(), file.toString(), logits.toString());
        assertThat(printed).startsWith("llama worst ");
        System.out.print("interop " + name + " " + printed);
        return Double.parseDouble(printed.split(" ")[2]);
    }

    /** Models with fewer heads and channels: of a LLaMA as a folder and a GGUF file, of a GPT-2 the channels. */
    private static List<String> pruned(Path base) throws IOException {
        pruned(base, "pruned-heads", (model, memory) -> HeadPruning.keep(model, new int[][] {{1}, {0}}, memory));
        BiFunction<Decoder, Arena, Decoder> narrow = (model, memory) -> {
            int[] odd = IntStream.range(0, model.config().feedForwardSize())
                    .filter(i -> i % 2 == 1)
                    .toArray();
            return WidthPruning.keep(model, new int[][] {odd, odd}, memory);
        };
        pruned(base, "pruned-width", narrow);
        gguf(dir.resolve("merged/pruned-heads"), "gguf-pruned-heads", lm -> lm, DType.F32);
        gguf(dir.resolve("merged/pruned-width"), "gguf-pruned-width", lm -> lm, DType.F32);
        DecoderConfig gpt2 = DecoderConfig.builder(Family.GPT2)
                .vocabSize(TinyModel.VOCABULARY)
                .hiddenSize(32)
                .layers(2)
                .heads(4)
                .contextLength(TinyModel.CONTEXT)
                .build();
        Path wide = dir.resolve("gpt2");
        try (Pretrained lm = Pretrained.create(gpt2, TinyModel.tokenizer(), 3)) {
            lm.save(wide);
        }
        pruned(wide, "pruned-gpt2-width", narrow);
        return List.of("pruned-heads", "pruned-width", "gguf-pruned-heads", "gguf-pruned-width", "pruned-gpt2-width");
    }

    private static void pruned(Path base, String name, BiFunction<Decoder, Arena, Decoder> smaller) throws IOException {
        Arena memory = Arena.ofShared();
        try (Pretrained lm = Pretrained.load(base);
                Pretrained small = lm.with(smaller.apply(lm.model(), memory), memory)) {
            small.save(dir.resolve("merged").resolve(name));
            logits(small.model(), name);
        }
    }

    /** A start that looks at data gets some. */
    private static Adapters attach(Method method, Decoder model) {
        return method instanceof Lora lora && lora.init().needsData()
                ? lora.attach(model, 1, () -> model.logits(Tokens.of(new int[] {5, 1, 17, 9, 30, 2}, 2, 3)))
                : method.attach(model, 1);
    }

    /** What training would do. */
    private static void disturb(Adapters adapters) {
        Rng rng = new Rng(5);
        for (Tensor p : adapters.parameters().values()) {
            float[] values = p.toArray();
            for (int i = 0; i < values.length; i++) {
                values[i] += (float) (0.05 * rng.nextGaussian());
            }
            p.set(values);
        }
    }

    private static void logits(Decoder model, String name) throws IOException {
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            write(name, IDS, model.logits(Tokens.of(IDS, 2, 6)).view(2, 6, model.vocabSize()));
        }
    }

    private static void write(String name, int[] ids, Tensor logits) throws IOException {
        List<StoredTensor> all = List.of(
                StoredTensor.of("input_ids", ids, 2, 6),
                StoredTensor.of(
                        "logits",
                        logits.toArray(),
                        Arrays.stream(logits.shape().dims()).asLongStream().toArray()));
        new SafetensorsWriter()
                .write(Files.createDirectories(dir.resolve("logits")).resolve(name + ".safetensors"), all);
    }

    /** A GGUF file, and the numbers that we read from it. */
    private static void gguf(Path base, String name, Function<Pretrained, ?> change, DType type) throws IOException {
        Path folder = Files.createDirectories(dir.resolve("gguf"));
        Path file = folder.resolve(name + ".gguf");
        try (Pretrained lm = Pretrained.load(base);
                Arena arena = Arena.ofShared()) {
            change.apply(lm);
            lm.saveGguf(file, type);
            List<StoredTensor> numbers = Gguf.open(file, arena).tensors().values().stream()
                    .map(t -> StoredTensor.of(t.name(), widened(t), t.shape()))
                    .toList();
            new SafetensorsWriter().write(folder.resolve(name + ".safetensors"), numbers);
        }
    }

    /** The numbers, out of blocks too. */
    private static float[] widened(StoredTensor t) {
        if (t.shape().length < 2) {
            return t.floats();
        }
        int rows = (int) t.shape()[0], columns = (int) t.shape()[1];
        float[] all = new float[rows * columns];
        Matrix matrix = t.dtype().matrix(t.data(), rows, columns);
        for (int i = 0; i < rows; i++) {
            matrix.widen(i, 0, columns, all, i * columns);
        }
        return all;
    }

    /** What Python prints; warnings go elsewhere. */
    private static String run(String... arguments) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of(PYTHON));
        command.addAll(List.of(arguments));
        Process process = new ProcessBuilder(command)
                .redirectError(Files.createTempFile(dir, "python", ".txt").toFile())
                .start();
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        return process.waitFor() == 0 ? out : out + "exit " + process.exitValue();
    }
}
