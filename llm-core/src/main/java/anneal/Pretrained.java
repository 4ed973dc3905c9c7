package anneal;

import anneal.generate.BeamSearch;
import anneal.generate.Generator;
import anneal.generate.Sampling;
import anneal.io.Gguf;
import anneal.io.GgufWriter;
import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.model.ClassifierFiles;
import anneal.model.Decoder;
import anneal.model.DecoderConfig;
import anneal.model.DecoderConfig.SpecialTokens;
import anneal.model.Init;
import anneal.model.ModelFiles;
import anneal.model.SequenceClassifier;
import anneal.nn.LayerWatch;
import anneal.tensor.DType;
import anneal.text.Chat;
import anneal.text.ChatTemplate;
import anneal.text.Message;
import anneal.text.Tokenizer;
import anneal.text.Tokenizers;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.TreeMap;

/**
 * A language model with all that belongs to it: weights, tokenizer, chat template, end tokens.
 *
 * <p>Weights of a file are mapped, not read: opening a model takes no memory for them, and they go when it is closed. Close it when
 * nothing of it is used any more.
 */
public final class Pretrained implements AutoCloseable {
    private final Arena arena;
    private final String name;
    private final Path folder;
    private final Decoder model;
    private final Tokenizer tokenizer;
    private final int[] ends;
    private ChatTemplate template;

    private Pretrained(
            Arena arena,
            String name,
            Path folder,
            Decoder model,
            Tokenizer tokenizer,
            int[] ends,
            ChatTemplate template) {
        this.arena = arena;
        this.name = name;
        this.folder = folder;
        this.model = model;
        this.tokenizer = tokenizer;
        this.ends = ends;
        this.template = template;
        if (tokenizer != null) {
            Tokenizers.requireFits(tokenizer, model.vocabSize(), name);
        }
    }

    // ---------------------------------------------------------------- opening

    /**
     * Opens a Hugging Face folder (config.json, safetensors, tokenizer) or a .gguf file.
     *
     * @throws UncheckedIOException if a file is missing or cannot be read
     * @throws IllegalArgumentException if a file is not what it says, is of an unknown architecture, or its parts do not
     *     fit; the message names file, key and tensors
     */
    public static Pretrained load(Path path) {
        if (!Files.exists(path)) {
            throw new UncheckedIOException(path + " does not exist", new NoSuchFileException(path.toString()));
        }
        Arena arena = Arena.ofShared();
        try {
            return Files.isDirectory(path) ? ofFolder(path, arena) : ofGguf(path, arena);
        } catch (RuntimeException | Error e) {
            arena.close();
            throw e;
        }
    }

    private static Pretrained ofFolder(Path folder, Arena arena) {
        Decoder model = ModelFiles.load(folder, arena);
        boolean hasTokenizer =
                Files.exists(folder.resolve("tokenizer.json")) || Files.exists(folder.resolve("tokenizer.model"));
        Tokenizer tokenizer = hasTokenizer ? Tokenizers.load(folder) : null;
        int[] ends = generationEnds(folder).orElse(model.config().tokens().eos());
        return new Pretrained(
                arena,
                folder.toString(),
                folder,
                model,
                tokenizer,
                orTokenizers(ends, tokenizer),
                ChatTemplate.load(folder).orElse(null));
    }

    private static Pretrained ofGguf(Path file, Arena arena) {
        Gguf gguf = Gguf.open(file, arena);
        Decoder model = ModelFiles.load(file, gguf, arena);
        Tokenizer tokenizer = gguf.has("tokenizer.ggml.model") ? Tokenizers.fromGguf(gguf.metadata()) : null;
        ChatTemplate template = gguf.has("tokenizer.chat_template")
                ? ChatTemplate.of(gguf.string("tokenizer.chat_template"), specialTokens(tokenizer))
                : null;
        int[] ends = orTokenizers(model.config().tokens().eos(), tokenizer);
        return new Pretrained(arena, file.toString(), null, model, tokenizer, ends, template);
    }

    /** eos_token_id of generation_config.json, which knows more ends than config.json: the end of a turn too. */
    private static Optional<int[]> generationEnds(Path folder) {
        Path file = folder.resolve("generation_config.json");
        if (!Files.exists(file)) {
            return Optional.empty();
        }
        JsonObject json = Json.read(file);
        if (!json.has("eos_token_id")) {
            return Optional.empty();
        }
        return Optional.of(
                json.get("eos_token_id") instanceof List
                        ? json.integers("eos_token_id")
                        : new int[] {json.integer("eos_token_id")});
    }

    private static int[] orTokenizers(int[] ends, Tokenizer tokenizer) {
        return ends.length > 0 || tokenizer == null
                ? ends
                : tokenizer.eos().stream().toArray();
    }

    private static int orTokenizers(int id, OptionalInt tokenizers) {
        return id >= 0 ? id : tokenizers.orElse(-1);
    }

    private static Map<String, String> specialTokens(Tokenizer tokenizer) {
        Map<String, String> tokens = new TreeMap<>();
        if (tokenizer != null) {
            tokenizer.bos().ifPresent(id -> tokens.put("bos_token", tokenizer.token(id)));
            tokenizer.eos().ifPresent(id -> tokens.put("eos_token", tokenizer.token(id)));
            tokenizer.pad().ifPresent(id -> tokens.put("pad_token", tokenizer.token(id)));
        }
        return tokens;
    }

    // ---------------------------------------------------------------- making

    /** A new model with the family's usual random start, every parameter trainable; special tokens are the tokenizer's. */
    public static Pretrained create(DecoderConfig config, Tokenizer tokenizer, long seed) {
        return create(config, tokenizer, Init.usual(config), seed);
    }

    /** A new model with this random start. */
    public static Pretrained create(DecoderConfig config, Tokenizer tokenizer, Init init, long seed) {
        Arena arena = Arena.ofShared();
        try {
            int[] ends = orTokenizers(config.tokens().eos(), tokenizer);
            DecoderConfig complete = config.withTokens(new SpecialTokens(
                    orTokenizers(config.tokens().bos(), tokenizer.bos()),
                    ends,
                    orTokenizers(config.tokens().pad(), tokenizer.pad())));
            Decoder model = new Decoder(complete, init.weights(complete, seed, arena));
            return new Pretrained(arena, "the new model", null, model, tokenizer, ends, null);
        } catch (RuntimeException | Error e) {
            arena.close();
            throw e;
        }
    }

    // ---------------------------------------------------------------- parts

    /** The model. */
    public Decoder model() {
        return model;
    }

    /** The tokenizer. */
    public Tokenizer tokenizer() {
        if (tokenizer == null) {
            throw new IllegalArgumentException(name + " has no tokenizer: neither tokenizer.json nor tokenizer.model");
        }
        return tokenizer;
    }

    /** Tokenizer and chat template together: conversations to tokens. */
    public Chat chat() {
        if (template == null) {
            throw new IllegalArgumentException(
                    name
                            + " has no chat template: it is a base model, or give it one with chatTemplate(ChatTemplate.chatml())");
        }
        return new Chat(tokenizer(), template);
    }

    /** True if there is a chat template. */
    public boolean hasChatTemplate() {
        return template != null;
    }

    /** Gives the model another chat template, which is saved with it. */
    public Pretrained chatTemplate(ChatTemplate t) {
        template = t;
        return this;
    }

    /** Tokens that end a text. */
    public int[] ends() {
        return ends.clone();
    }

    /** Makes every parameter trainable; weights that lie in a file are widened into memory. */
    public Pretrained trainable() {
        model.train(arena);
        return this;
    }

    /** Writes tokens on from tokens. */
    public Generator generator() {
        return new Generator(model, ends);
    }

    /** Beam search. */
    public BeamSearch beamSearch() {
        return new BeamSearch(model, ends);
    }

    /** Writes text on from text, ending at any of these strings too. */
    public TextGenerator text(String... stops) {
        return new TextGenerator(generator(), tokenizer(), Arrays.asList(stops));
    }

    /** The model's answer to a conversation, as text. */
    public String answer(List<Message> messages, Sampling sampling) {
        return text().stream(chat().prompt(messages), sampling, piece -> {}).text();
    }

    /**
     * Another model with this one's tokenizer, chat template and end tokens: a student, a pruned copy.
     *
     * @param memory where the weights of {@code other} live; closed with the result
     */
    public Pretrained with(Decoder other, Arena memory) {
        return new Pretrained(memory, name, folder, other, tokenizer, ends, template);
    }

    // ---------------------------------------------------------------- saving

    /** See {@link #save(Path, DType)}: in f32. */
    public void save(Path to) {
        save(to, DType.F32);
    }

    /** See {@link #save(Path, DType, LayerWatch)}. */
    public void save(Path to, DType type) {
        save(to, type, LayerWatch.NONE);
    }

    /**
     * Writes a folder that transformers opens: config.json, safetensors, tokenizer, chat template. It appears whole or not at all.
     *
     * @param to a new or empty folder
     * @param type F32, F16 or BF16
     * @param watch told of each tensor when its numbers are written
     */
    public void save(Path to, DType type, LayerWatch watch) {
        PretrainedFolder.write(to, temp -> {
            ModelFiles.save(model, temp, type, watch);
            PretrainedFolder.saveText(folder, tokenizer, template, temp);
        });
    }

    /**
     * Writes a classifier on this model as a folder that transformers opens (LlamaForSequenceClassification or the class of the family), in
     * f32, with the tokenizer. {@link ClassifierFiles#load} reads it. The folder appears whole or not at all.
     *
     * @param classifier on this model; adapters merged
     * @param labels names, by number
     * @param to a new or empty folder
     */
    public void save(SequenceClassifier classifier, List<String> labels, Path to) {
        if (classifier.body() != model) {
            throw new IllegalArgumentException("save: the classifier stands on another model than " + name);
        }
        PretrainedFolder.write(to, temp -> {
            ClassifierFiles.save(classifier, labels, temp, DType.F32);
            PretrainedFolder.saveText(folder, tokenizer, template, temp);
        });
    }

    /** See {@link #saveGguf(Path, DType, LayerWatch)}. */
    public void saveGguf(Path file, DType type) {
        saveGguf(file, type, LayerWatch.NONE);
    }

    /**
     * Writes a GGUF file with vocabulary and chat template.
     *
     * @param type F32, F16, BF16 or Q8_0; vectors are always f32
     * @param watch told of each tensor when its numbers are written
     */
    public void saveGguf(Path file, DType type, LayerWatch watch) {
        ModelFiles.saveGguf(model, file, type, this::putText, watch);
    }

    private void putText(GgufWriter to) {
        to.put("general.name", Path.of(name).getFileName().toString());
        if (tokenizer != null) {
            PretrainedFolder.putVocabulary(Tokenizers.toGguf(tokenizer), model.vocabSize(), to);
        }
        if (template != null) {
            to.put("tokenizer.chat_template", template.source());
        }
    }

    /** Frees the weights; whatever uses them afterwards fails. */
    @Override
    public void close() {
        arena.close();
    }

    @Override
    public String toString() {
        return name + ": " + model.config();
    }
}
