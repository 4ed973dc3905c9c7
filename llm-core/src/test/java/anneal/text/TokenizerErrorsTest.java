package anneal.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Bad tokenizer files: one sentence that names file and key. */
class TokenizerErrorsTest {
    private static final String GOOD = """
            {"version": "1.0", "truncation": null, "padding": null,
             "added_tokens": [{"id": 3, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
             "normalizer": null, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}, "post_processor": null,
             "decoder": {"type": "ByteLevel"},
             "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}}
            """;

    @TempDir
    private Path dir;

    private Path json(String content) throws IOException {
        return Files.writeString(dir.resolve("tokenizer.json"), content);
    }

    private void wrong(String what, String by, String message) throws IOException {
        assertThat(GOOD).contains(what);
        Path file = json(GOOD.replace(what, by));
        assertThatThrownBy(() -> Tokenizers.load(file))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage(file + ": " + message);
    }

    @Test
    void theGoodFileIsGood() throws IOException {
        Tokenizer t = Tokenizers.load(json(GOOD));
        assertThat(t.encode("abba<s>", Tokenizer.Options.TEMPLATE).ids()).containsExactly(2, 1, 0, 3);
        assertThat(t.encode("abba<s>")).as("unknown bytes are dropped").containsExactly(2, 1, 0);
    }

    @Test
    void filesThatAreNotThere() {
        Path nowhere = dir.resolve("nowhere");
        assertThatThrownBy(() -> Tokenizers.load(nowhere))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage(nowhere + ": no such tokenizer folder or file");
        assertThatThrownBy(() -> Tokenizers.load(dir))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage(dir + ": holds neither tokenizer.json nor tokenizer.model");
    }

    @Test
    void filesThatAreNotJson() throws IOException {
        for (String content : List.of("", "{", "no", GOOD.substring(0, GOOD.length() / 2), "[1]", GOOD + "}")) {
            Path file = json(content);
            assertThatThrownBy(() -> Tokenizers.load(file))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageStartingWith(file.toString());
        }
    }

    @Test
    void modelsThatAreNotUnderstood() throws IOException {
        wrong(
                "\"BPE\"",
                "\"Unigram\"",
                "model: key \"type\" must be BPE, the only kind that is supported, but is the string \"Unigram\"");
        wrong("\"model\"", "\"mdoel\"", "key \"model\" is missing; the nearest key there is \"mdoel\"");
        wrong("\"merges\"", "\"mergers\"", "model: key \"merges\" is missing; the nearest key there is \"mergers\"");
        wrong(
                "\"merges\"",
                "\"colour\": 1, \"merges\"",
                "model: unknown key \"colour\"; the nearest known one is \"dropout\"");
        wrong(
                "\"merges\"",
                "\"end_of_word_suffix\": \"</w>\", \"merges\"",
                "model: key \"end_of_word_suffix\" must be absent (it is not supported) but is the string \"</w>\"");
        wrong(
                "\"merges\"",
                "\"unk_token\": \"<unk>\", \"merges\"",
                "model: unk_token refers to token \"<unk>\", which is not in the vocabulary");
    }

    @Test
    void vocabulariesThatContradictThemselves() throws IOException {
        wrong("\"ab\": 2", "\"ab\": 1", "model: vocab: id 1 stands for two tokens, \"ab\" and \"b\"");
        wrong("\"ab\": 2", "\"ab\": -2", "model: vocab: id -2 of token \"ab\" is out of range for a vocabulary of 3");
        wrong(
                "\"ab\": 2",
                "\"ab\": 2000000000",
                "model: vocab: id 2000000000 of token \"ab\" is out of range for a vocabulary of 3");
        wrong("\"ab\": 2", "\"ab\": \"2\"", "model: vocab: key \"ab\" must be an integer but is the string \"2\"");
        wrong("\"ab\": 2", "\"ac\": 2", "model: merges[0] refers to token \"ab\", which is not in the vocabulary");
        wrong(
                "[\"a\", \"b\"]",
                "[\"a\", \"b\"], [\"ab\", \"c\"]",
                "model: merges[1] refers to token \"c\", which is not in the vocabulary");
        wrong("[\"a\", \"b\"]", "[\"a\"]", "model: merges[0] must be two tokens but is [a]");
        wrong("\"<s>\"", "\"a\"", "token \"a\" has two ids, 0 and 3");
        wrong("\"id\": 3", "\"id\": 1", "id 1 stands for two tokens, \"b\" and \"<s>\"");
    }

    @Test
    void componentsThatAreNotUnderstood() throws IOException {
        wrong(
                "\"normalizer\": null",
                "\"normalizer\": {\"type\": \"Shout\"}",
                "normalizer: key \"type\" must be a known normalizer but is the string \"Shout\"");
        wrong(
                "{\"type\": \"ByteLevel\", \"add_prefix_space\": false}",
                "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": {\"Regex\": \"(\"}}]}",
                "pre_tokenizer: pretokenizers[0]: pattern: key \"Regex\" must be a regular expression that can be read"
                        + " (Unclosed group) but is the string \"(\"");
        wrong(
                "\"add_prefix_space\": false",
                "\"add_prefix_spaces\": false",
                "pre_tokenizer: unknown key \"add_prefix_spaces\"; the nearest known one is \"add_prefix_space\"");
        wrong(
                "\"post_processor\": null",
                "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<s>\","
                        + " \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}], \"special_tokens\": {}}",
                "post_processor: special_tokens: key \"<s>\" is missing");
        wrong(
                "\"post_processor\": null",
                "\"post_processor\": {\"type\": \"BertProcessing\", \"sep\": [\"<s>\", 3], \"cls\": [\"<c>\", 9]}",
                "post_processor adds id 9, which is outside the vocabulary of 4");
        wrong(
                "\"decoder\": {\"type\": \"ByteLevel\"}",
                "\"decoder\": {\"type\": \"CTC\"}",
                "decoder: key \"type\" must be a known decoder but is the string \"CTC\"");
        wrong("\"padding\": null", "\"pading\": null", "unknown key \"pading\"; the nearest known one is \"padding\"");
    }

    @Test
    void configsThatContradictTheVocabulary() throws IOException {
        json(GOOD);
        Path config = dir.resolve("tokenizer_config.json");
        Files.writeString(config, "{\"eos_token\": 7}");
        assertThatThrownBy(() -> Tokenizers.load(dir))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage(config + ": key \"eos_token\" must be a token or an object with content but is 7");
        Files.writeString(config, "{\"added_tokens_decoder\": {\"7\": {\"content\": \"<s>\"}}}");
        assertThatThrownBy(() -> Tokenizers.load(dir))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage(dir.resolve("tokenizer.json")
                        + ": added token \"<s>\" has id 3 but tokenizer_config.json gives it 7");
    }

    @Test
    void modelFilesThatAreNotSentencePiece() throws IOException {
        Path file = dir.resolve("tokenizer.model");
        byte[] good = Files.readAllBytes(anneal.Golden.root().resolve("text/sentencepiece-bpe/tokenizer.model"));
        Files.write(file, good);
        assertThat(Tokenizers.load(file).encode("Hello")).isNotEmpty();
        for (int n : new int[] {1, 2, 100, good.length / 2, good.length - 1}) {
            Files.write(file, Arrays.copyOf(good, n));
            assertThatThrownBy(() -> Tokenizers.load(file))
                    .as("first " + n + " bytes")
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageStartingWith(file + ": not a SentencePiece model");
        }
        Files.write(file, new byte[0]);
        assertThatThrownBy(() -> Tokenizers.load(file))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage(file + ": not a SentencePiece model: it has no pieces");
        Files.write(file, new byte[] {0x12, 2, 0x18, 1, 0x0A, 3, 0x0A, 1, 'a'});
        assertThatThrownBy(() -> Tokenizers.load(file))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage(file + ": trainer_spec.model_type unigram is not supported: only bpe is");
    }

    @Test
    void aTokenizerThatIsTooLargeForTheModel() throws IOException {
        Tokenizer t = Tokenizers.load(json(GOOD));
        Tokenizers.requireFits(t, 4, "config.json");
        assertThatThrownBy(() -> Tokenizers.requireFits(t, 3, "config.json"))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("config.json: the tokenizer has 4 ids but the model's vocabulary only 3: the tokenizer"
                        + " belongs to another model, or the embedding must be resized");
    }

    @Test
    void trainingThatCannotBe() {
        assertThatThrownBy(() -> new BpeTrainer(256).specialTokens("<s>").train(List.of("a")))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("BpeTrainer: a vocabulary of 256 is too small: 1 special tokens and 256 bytes take 257");
        assertThatThrownBy(() -> new BpeTrainer(300).eos("<e>").train(List.of("a")))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("BpeTrainer: eos \"<e>\" is not one of the special tokens []");
        assertThatThrownBy(() -> new BpeTrainer(300).specialTokens("<e>", "<e>"))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("BpeTrainer: special token \"<e>\" is empty or named twice");
    }

    @Test
    void aFolderThatCannotBeWritten() throws IOException {
        Tokenizer t = Tokenizers.load(json(GOOD));
        Path file = Files.writeString(dir.resolve("file"), "x");
        assertThatThrownBy(() -> Tokenizers.save(t, file))
                .isInstanceOf(UncheckedIOException.class)
                .hasMessageStartingWith(file + ": tokenizer cannot be written");
    }
}
