package anneal;

import anneal.io.Folders;
import anneal.io.GgufWriter;
import anneal.text.ChatTemplate;
import anneal.text.Tokenizer;
import anneal.text.Tokenizers;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** What stands beside the weights in a model's folder, and folders that appear whole or not at all. */
final class PretrainedFolder {
    /** A tokenizer and its template as Hugging Face keeps them; copied as they are, so that nothing gets lost. */
    private static final List<String> TEXT_FILES = List.of(
            "tokenizer.json",
            "tokenizer.model",
            "tokenizer_config.json",
            "special_tokens_map.json",
            "added_tokens.json",
            "vocab.json",
            "merges.txt",
            "chat_template.json",
            "chat_template.jinja");

    private static final String TOKENS = "tokenizer.ggml.tokens";
    private static final String TYPES = "tokenizer.ggml.token_type";
    private static final String SCORES = "tokenizer.ggml.scores";
    private static final int UNUSED = 5;

    private PretrainedFolder() {}

    interface Content {
        void writeTo(Path folder) throws IOException;
    }

    static void write(Path to, Content content) {
        Path target = to.toAbsolutePath(), temp = target.resolveSibling("." + target.getFileName() + ".tmp");
        requireEmpty(to);
        try {
            Files.createDirectories(target.getParent());
            Folders.delete(temp);
            Files.createDirectory(temp);
            content.writeTo(temp);
            Files.deleteIfExists(target);
            Files.move(temp, target, StandardCopyOption.ATOMIC_MOVE);
        } catch (IOException e) {
            clean(temp, e);
            throw new UncheckedIOException(to + " cannot be written: " + e.getMessage(), e);
        } catch (RuntimeException | Error e) {
            clean(temp, e);
            throw e;
        }
    }

    private static void requireEmpty(Path to) {
        String[] there = to.toFile().list();
        if (Files.exists(to) && (there == null || there.length > 0)) {
            throw new IllegalArgumentException(
                    to + (there == null ? " is a file, not a folder" : " is not empty: save into a new folder"));
        }
    }

    private static void clean(Path temp, Throwable cause) {
        try {
            Folders.delete(temp);
        } catch (IOException e) {
            cause.addSuppressed(e);
        }
    }

    /** Copies the files a model came with, or writes its tokenizer anew; the template in use goes into a file of its own. */
    static void saveText(Path from, Tokenizer tokenizer, ChatTemplate template, Path to) throws IOException {
        if (from != null) {
            for (String file : TEXT_FILES) {
                if (Files.exists(from.resolve(file))) {
                    Files.copy(from.resolve(file), to.resolve(file));
                }
            }
        } else if (tokenizer != null) {
            Tokenizers.save(tokenizer, to);
        }
        if (template != null) {
            Files.writeString(to.resolve("chat_template.jinja"), template.source());
        }
    }

    /** Writes a vocabulary; a model with more rows than tokens gets unused tokens, one for each row, as its readers want it. */
    static void putVocabulary(Map<String, Object> vocabulary, int rows, GgufWriter to) {
        int count = ((String[]) vocabulary.get(TOKENS)).length;
        vocabulary.forEach((key, value) -> {
            switch (value) {
                case String s -> to.put(key, s);
                case Boolean b -> to.put(key, b);
                case Integer i -> to.put(key, i.intValue());
                case String[] s -> to.put(key, List.of(key.equals(TOKENS) ? padded(s, rows) : s));
                case int[] i -> to.put(key, key.equals(TYPES) ? padded(i, rows) : i);
                case float[] f -> to.put(key, key.equals(SCORES) ? Arrays.copyOf(f, Math.max(rows, count)) : f);
                default -> throw new IllegalStateException(key + " is a " + value.getClass());
            }
        });
    }

    private static String[] padded(String[] tokens, int rows) {
        String[] all = Arrays.copyOf(tokens, Math.max(rows, tokens.length));
        for (int i = tokens.length; i < all.length; i++) {
            all[i] = "[PAD" + i + "]";
        }
        return all;
    }

    private static int[] padded(int[] types, int rows) {
        int[] all = Arrays.copyOf(types, Math.max(rows, types.length));
        Arrays.fill(all, types.length, all.length, UNUSED);
        return all;
    }
}
