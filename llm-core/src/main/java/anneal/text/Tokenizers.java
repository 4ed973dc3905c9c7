package anneal.text;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** Opens and saves tokenizers. */
public final class Tokenizers {
    private Tokenizers() {}

    /**
     * Opens a tokenizer: a folder (tokenizer.json or tokenizer.model, with tokenizer_config.json and
     * special_tokens_map.json if they are there), a tokenizer.json or a tokenizer.model (SentencePiece, BPE).
     *
     * @throws IllegalArgumentException if a file is missing, broken, or asks for something that is not supported; the
     *     message names file and key
     */
    public static Tokenizer load(Path path) {
        if (Files.isDirectory(path)) {
            return new PipelineTokenizer(TokenizerFolder.read(path));
        }
        if (!Files.exists(path)) {
            throw new IllegalArgumentException(path + ": no such tokenizer folder or file");
        }
        TokenizerParts parts = path.toString().endsWith(".model")
                ? TokenizerFolder.readModel(path, PreTokenizer.Metaspace.Scheme.ALWAYS, true, false)
                : TokenizerJson.read(path, List.of());
        return new PipelineTokenizer(parts);
    }

    /**
     * The tokenizer inside a GGUF file.
     *
     * @param metadata the file's metadata by key; arrays may be lists or Java arrays
     * @throws IllegalArgumentException if keys are missing or the kind of vocabulary is not supported
     */
    public static Tokenizer fromGguf(Map<String, ?> metadata) {
        return new PipelineTokenizer(GgufVocabulary.read(metadata));
    }

    /**
     * Writes tokenizer.json and tokenizer_config.json, which transformers and tokenizers open, into {@code dir}.
     *
     * @throws IllegalArgumentException if the tokenizer is none of ours
     */
    public static void save(Tokenizer tokenizer, Path dir) {
        TokenizerWriter.write(parts(tokenizer, "save"), dir);
    }

    /**
     * The tokenizer as GGUF metadata: what {@link #fromGguf} reads. Strings, booleans, integers ({@code Integer}), and
     * {@code String[]}, {@code int[]}, {@code float[]} arrays.
     *
     * @throws IllegalArgumentException if GGUF has no name for how the tokenizer prepares text
     */
    public static Map<String, Object> toGguf(Tokenizer tokenizer) {
        return GgufVocabularyWriter.write(parts(tokenizer, "toGguf"));
    }

    /**
     * Says whether a model can take all ids of a tokenizer.
     *
     * @param vocabSize rows of the model's embedding
     * @param where names the model in the error
     * @throws IllegalArgumentException if there are ids without a row
     */
    public static void requireFits(Tokenizer tokenizer, int vocabSize, String where) {
        if (tokenizer.vocabSize() > vocabSize) {
            throw new IllegalArgumentException(where + ": the tokenizer has " + tokenizer.vocabSize()
                    + " ids but the model's vocabulary only " + vocabSize
                    + ": the tokenizer belongs to another model, or the embedding must be resized");
        }
    }

    private static TokenizerParts parts(Tokenizer tokenizer, String what) {
        if (tokenizer instanceof PipelineTokenizer p) {
            return p.parts();
        }
        throw new IllegalArgumentException(
                what + ": " + tokenizer.getClass().getName() + " was not made by Tokenizers");
    }
}
