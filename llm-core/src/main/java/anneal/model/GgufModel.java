package anneal.model;

import anneal.io.Gguf;
import anneal.io.GgufWriter;
import anneal.io.StoredTensor;
import anneal.io.TensorEntry;
import anneal.kernels.Activation;
import anneal.model.DecoderConfig.Biases;
import anneal.model.DecoderConfig.Rotary;
import anneal.model.DecoderConfig.SpecialTokens;
import anneal.nn.RopeScaling;
import anneal.tensor.DType;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Decoders in GGUF files: metadata to config and back, llama.cpp's tensor names to Hugging Face's and back.
 *
 * <p>Files of the architecture "llama" hold the rows of query and key in another order: where Hugging Face has the first halves of
 * all pairs of a head and then the second halves, they have pair by pair. Rows are moved whole, so no block is decoded.
 */
final class GgufModel {
    /** Frequencies of rotary pairs are divided by these numbers; only there if they are scaled as Llama 3's. */
    private static final String FACTORS = "rope_freqs.weight";

    private GgufModel() {}

    // ---------------------------------------------------------------- metadata

    /** The config that a file's metadata and tensors tell. */
    static DecoderConfig config(Gguf file) {
        String arch = file.string("general.architecture");
        Family family = family(arch, file);
        String a = arch + ".";
        int size = file.integer(a + "embedding_length"), heads = file.integer(a + "attention.head_count");
        int layers = file.integer(a + "block_count"), context = file.integer(a + "context_length");
        int dim = file.integer(a + "attention.key_length", heads > 0 ? size / heads : 0);
        String eps = family == Family.GPT2 ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon";
        boolean gpt2 = family == Family.GPT2;
        DecoderConfig.Builder b = DecoderConfig.builder(family)
                .vocabSize((int) file.get("token_embd.weight").shape()[0])
                .hiddenSize(size)
                .feedForwardSize(file.integer(a + "feed_forward_length"))
                .layers(layers)
                .heads(heads, file.integer(a + "attention.head_count_kv", heads), dim)
                .contextLength(context)
                .normEps(decimal(file.number(a + eps)))
                .activation(gpt2 ? Activation.GELU_TANH : Activation.SILU)
                .tied(!file.tensors().containsKey("output.weight"))
                .biases(new Biases(
                        gpt2 || file.tensors().containsKey("blk.0.attn_q.bias"),
                        file.tensors().containsKey("blk.0.attn_output.bias"),
                        file.tensors().containsKey("blk.0.ffn_up.bias")))
                .windows(windows(file, a, layers))
                .tokens(tokens(file));
        return (gpt2 ? b : b.rotary(rotary(file, a, dim, context))).build();
    }

    private static Family family(String arch, Gguf file) {
        return switch (arch) {
            case "gpt2" -> Family.GPT2;
            case "llama" -> file.has("llama.attention.sliding_window") ? Family.MISTRAL : Family.LLAMA;
            case "qwen2" -> Family.QWEN2;
            case "qwen3" -> Family.QWEN3;
            default ->
                throw new IllegalArgumentException(
                        "GGUF: unknown architecture \"" + arch + "\"; known are gpt2, llama, qwen2, qwen3");
        };
    }

    private static String architecture(Family family) {
        return switch (family) {
            case GPT2 -> "gpt2";
            case LLAMA, MISTRAL -> "llama";
            case QWEN2 -> "qwen2";
            case QWEN3 -> "qwen3";
        };
    }

    private static int[] windows(Gguf file, String a, int layers) {
        if (layers > file.tensors().size()) {
            throw new IllegalArgumentException("GGUF: " + a + "block_count " + layers + " is more than the file's "
                    + file.tensors().size() + " tensors can make");
        }
        int[] windows = DecoderConfig.noWindows(layers);
        Arrays.fill(windows, file.integer(a + "attention.sliding_window", 0));
        return windows;
    }

    private static Rotary rotary(Gguf file, String a, int dim, int context) {
        double theta = decimal(file.number(a + "rope.freq_base", 10_000));
        int channels = file.integer(a + "rope.dimension_count", dim);
        if (file.tensors().containsKey(FACTORS)) {
            return new Rotary(theta, channels, named(file.get(FACTORS).floats(), channels, theta));
        }
        String type = file.has(a + "rope.scaling.type") ? file.string(a + "rope.scaling.type") : "none";
        double factor = file.number(a + "rope.scaling.factor", 1);
        RopeScaling scaling = switch (type) {
            case "none" -> new RopeScaling.None();
            case "linear" -> new RopeScaling.Linear(factor);
            case "yarn" ->
                new RopeScaling.Yarn(
                        factor,
                        file.integer(a + "rope.scaling.original_context_length", context),
                        file.number(a + "rope.scaling.yarn_beta_fast", 32),
                        file.number(a + "rope.scaling.yarn_beta_slow", 1),
                        RopeScaling.Yarn.magnitude(factor, 0, 0)
                                * decimal(file.number(a + "rope.scaling.attn_factor", 1)),
                        true);
            default ->
                throw new IllegalArgumentException(
                        "GGUF: unknown rope.scaling.type \"" + type + "\"; known are none, linear, yarn");
        };
        return new Rotary(theta, channels, scaling);
    }

    /** The Llama 3 scaling that gives these divisors, if there is one with the published settings; else the numbers themselves. */
    private static RopeScaling named(float[] divisors, int channels, double theta) {
        double factor = divisors.length == 0 ? 1 : divisors[divisors.length - 1];
        if (factor >= 1) {
            RopeScaling published = new RopeScaling.Llama3(factor, 1, 4, 8192);
            float[] same = divisors(published, channels, theta);
            boolean equal = same.length == divisors.length;
            for (int i = 0; equal && i < same.length; i++) {
                equal = Math.abs(same[i] - divisors[i]) <= 1e-4 * Math.abs(same[i]);
            }
            if (equal) {
                return published;
            }
        }
        return new RopeScaling.Factors(divisors);
    }

    private static float[] divisors(RopeScaling scaling, int channels, double theta) {
        double[] plain = new RopeScaling.None().frequencies(channels, theta, 0);
        double[] scaled = scaling.frequencies(channels, theta, 0);
        float[] d = new float[plain.length];
        for (int i = 0; i < d.length; i++) {
            d[i] = (float) (plain[i] / scaled[i]);
        }
        return d;
    }

    private static SpecialTokens tokens(Gguf file) {
        int end = file.integer("tokenizer.ggml.eos_token_id", -1);
        int turn = file.integer("tokenizer.ggml.eot_token_id", -1);
        int[] eos = Arrays.stream(new int[] {end, turn})
                .filter(i -> i >= 0)
                .distinct()
                .toArray();
        return new SpecialTokens(
                file.integer("tokenizer.ggml.bos_token_id", -1),
                eos,
                file.integer("tokenizer.ggml.padding_token_id", -1));
    }

    /** A float of the file as the decimal it was written from: 1e-5, not 9.99999974e-6. */
    private static double decimal(double fromFloat) {
        return Double.parseDouble(Float.toString((float) fromFloat));
    }

    /** Writes the metadata of a model. */
    static void write(DecoderConfig c, GgufWriter to) {
        String arch = architecture(c.family()), a = arch + ".";
        to.put("general.architecture", arch)
                .put(a + "vocab_size", c.vocabSize())
                .put(a + "context_length", c.contextLength())
                .put(a + "embedding_length", c.hiddenSize())
                .put(a + "block_count", c.layers())
                .put(a + "feed_forward_length", c.feedForwardSize())
                .put(a + "attention.head_count", c.heads().query())
                .put(a + "attention.head_count_kv", c.heads().kv());
        if (c.family() == Family.GPT2) {
            to.put(a + "attention.layer_norm_epsilon", (float) c.normEps());
            requireUsual(c, Activation.GELU_TANH);
            return;
        }
        requireUsual(c, Activation.SILU);
        to.put(a + "attention.layer_norm_rms_epsilon", (float) c.normEps())
                .put(a + "attention.key_length", c.heads().dim())
                .put(a + "attention.value_length", c.heads().dim());
        int window = Arrays.stream(c.windows()).max().orElse(0);
        if (window > 0) {
            if (Arrays.stream(c.windows()).min().orElse(0) != window) {
                throw new IllegalArgumentException(
                        "GGUF: sliding windows that differ between layers cannot be written");
            }
            to.put(a + "attention.sliding_window", window);
        }
        write(c.rotary(), a, to);
    }

    private static void requireUsual(DecoderConfig c, Activation usual) {
        if (c.activation() != usual || !c.scaleScores() || c.scaleByLayer()) {
            throw new IllegalArgumentException("GGUF: " + c.family().modelType() + " with activation " + c.activation()
                    + (c.scaleScores() && !c.scaleByLayer() ? "" : " and unusual attention scaling")
                    + " cannot be expressed in a GGUF file");
        }
    }

    private static void write(Rotary r, String a, GgufWriter to) {
        to.put(a + "rope.dimension_count", r.channels()).put(a + "rope.freq_base", (float) r.theta());
        switch (r.scaling()) {
            case RopeScaling.None n -> {}
            case RopeScaling.Llama3 l -> {} // in a tensor
            case RopeScaling.Factors f -> {}
            case RopeScaling.Linear l ->
                to.put(a + "rope.scaling.type", "linear").put(a + "rope.scaling.factor", (float) l.factor());
            case RopeScaling.Yarn y ->
                to.put(a + "rope.scaling.type", "yarn")
                        .put(a + "rope.scaling.factor", (float) y.factor())
                        .put(a + "rope.scaling.original_context_length", y.original())
                        .put(a + "rope.scaling.yarn_beta_fast", (float) y.betaFast())
                        .put(a + "rope.scaling.yarn_beta_slow", (float) y.betaSlow())
                        .put(a + "rope.scaling.attn_factor", (float)
                                (y.magnitude() / RopeScaling.Yarn.magnitude(y.factor(), 0, 0)));
            case RopeScaling.Dynamic d ->
                throw new IllegalArgumentException(
                        "GGUF: dynamic rotary scaling cannot be written, its readers do not know it");
        }
    }

    // ---------------------------------------------------------------- tensors

    /** llama.cpp's name of each module. */
    private static Map<String, String> names(DecoderConfig c) {
        Family.Names n = c.family().names();
        Map<String, String> names = new LinkedHashMap<>(); // parts a family does not have are null and match nothing
        names.put(n.embedding(), "token_embd");
        names.put(n.positions(), "position_embd");
        for (int i = 0; i < c.layers(); i++) {
            String block = n.layers() + "." + i + ".", to = "blk." + i + ".";
            String a = block + n.attention().module() + ".",
                    f = block + n.feedForward().module() + ".";
            names.put(block + n.attention().norm(), to + "attn_norm");
            names.put(a + n.attention().packed(), to + "attn_qkv");
            names.put(a + n.attention().query(), to + "attn_q");
            names.put(a + n.attention().key(), to + "attn_k");
            names.put(a + n.attention().value(), to + "attn_v");
            names.put(a + n.attention().out(), to + "attn_output");
            names.put(a + "q_norm", to + "attn_q_norm");
            names.put(a + "k_norm", to + "attn_k_norm");
            names.put(block + n.feedForward().norm(), to + "ffn_norm");
            names.put(f + n.feedForward().gate(), to + "ffn_gate");
            names.put(f + n.feedForward().up(), to + "ffn_up");
            names.put(f + n.feedForward().down(), to + "ffn_down");
        }
        names.put(n.norm(), "output_norm");
        names.put(n.head(), "output");
        return names;
    }

    /** The tensors of a file under Hugging Face's names, with Hugging Face's order of rows. */
    static Map<String, StoredTensor> tensors(Gguf file, DecoderConfig c, Arena arena) {
        Map<String, String> back = new LinkedHashMap<>();
        names(c).forEach((theirs, ours) -> back.put(ours, theirs));
        Map<String, StoredTensor> out = new LinkedHashMap<>();
        file.tensors().forEach((name, t) -> {
            int dot = name.lastIndexOf('.');
            String module = dot < 0 ? null : back.get(name.substring(0, dot));
            if (module != null) {
                String full = module + name.substring(dot);
                out.put(full, unpermuted(t, full, c, arena).renamed(full));
            } else if (!name.equals(FACTORS)) {
                out.put(name, t);
            }
        });
        return out;
    }

    private static StoredTensor unpermuted(StoredTensor t, String name, DecoderConfig c, Arena arena) {
        int heads = permutedHeads(name, c);
        if (heads == 0 || t.shape()[0] != (long) heads * c.heads().dim()) {
            return t;
        }
        if (t.shape().length == 1) {
            return t.reshaped(t.shape()[0], 1)
                    .permuteRows(toHalves(heads, c), arena)
                    .reshaped(t.shape()[0]);
        }
        return t.permuteRows(toHalves(heads, c), arena);
    }

    /** Heads of a query or key projection whose rows the architecture "llama" permutes, else 0. */
    private static int permutedHeads(String name, DecoderConfig c) {
        if (!architecture(c.family()).equals("llama")) {
            return 0;
        }
        return name.contains(".q_proj.")
                ? c.heads().query()
                : name.contains(".k_proj.") ? c.heads().kv() : 0;
    }

    /** For each row in Hugging Face's order, its place in the file: row p K/2 + i of a head stands at 2 i + p. */
    private static int[] toHalves(int heads, DecoderConfig c) {
        int dim = c.heads().dim(), half = dim / 2;
        int[] order = new int[heads * dim];
        for (int row = 0; row < order.length; row++) {
            int at = row % dim;
            order[row] = row - at + 2 * (at % half) + at / half;
        }
        return order;
    }

    /** The tensors to write: llama.cpp's names, rows in its order, layers as [out, in]. */
    static List<TensorEntry> entries(List<ModelTensor> tensors, DecoderConfig c) {
        Map<String, String> names = names(c);
        List<TensorEntry> out = new ArrayList<>();
        for (ModelTensor t : tensors) {
            int dot = t.name().lastIndexOf('.');
            String name = names.get(t.name().substring(0, dot)) + t.name().substring(dot);
            int heads = permutedHeads(t.name(), c);
            out.add(t.ggufEntry(name, heads == 0 ? null : inverse(toHalves(heads, c))));
        }
        RopeScaling scaling =
                c.rotary() == null ? new RopeScaling.None() : c.rotary().scaling();
        if (scaling instanceof RopeScaling.Llama3 || scaling instanceof RopeScaling.Factors) {
            float[] d = divisors(scaling, c.rotary().channels(), c.rotary().theta());
            out.add(StoredTensor.of(FACTORS, d, d.length));
        }
        return out;
    }

    private static int[] inverse(int[] order) {
        int[] inverse = new int[order.length];
        for (int i = 0; i < order.length; i++) {
            inverse[order[i]] = i;
        }
        return inverse;
    }

    /** The number that stands for a file's main type: that of most of its matrices' numbers. */
    static int fileType(List<TensorEntry> entries, DType floats) {
        Map<DType, Long> numbers = new EnumMap<>(DType.class);
        for (TensorEntry e : entries) {
            if (e.shape().length > 1) {
                DType type = e.dtype() == DType.F32 ? floats : e.dtype();
                numbers.merge(type, Arrays.stream(e.shape()).reduce(1, (a, b) -> a * b), Long::sum);
            }
        }
        DType most = numbers.entrySet().stream()
                .max(Map.Entry.comparingByValue())
                .map(Map.Entry::getKey)
                .orElse(floats);
        return switch (most) {
            case F32 -> 0;
            case F16 -> 1;
            case Q4_0 -> 2;
            case Q4_1 -> 3;
            case Q8_0 -> 7;
            case Q5_0 -> 8;
            case Q5_1 -> 9;
            case Q4_K -> 14;
            case Q5_K -> 16;
            case Q6_K -> 18;
            case BF16 -> 32;
            default -> throw new IllegalArgumentException("GGUF: there is no number for a file of " + most);
        };
    }

    /** Throws unless what is no block can be written so. */
    static void requireFloats(DType type) {
        if (type != DType.F32 && type != DType.F16 && type != DType.BF16 && type != DType.Q8_0) {
            throw new IllegalArgumentException("GGUF: a model is written as F32, F16, BF16 or Q8_0, not " + type);
        }
    }
}
