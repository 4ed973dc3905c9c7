package anneal.text;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What the files of a Hugging Face folder say together; saving and opening again. */
class TokenizerFolderTest {
    @TempDir
    private Path dir;

    private static Path golden(String name) {
        return anneal.Golden.root().resolve("text").resolve(name);
    }

    private void write(String name, String content) throws IOException {
        Files.writeString(dir.resolve(name), content);
    }

    @Test
    void theConfigNamesBeginEndAndPadding() throws IOException {
        Files.copy(golden("gpt2-style/tokenizer.json"), dir.resolve("tokenizer.json"));
        write(
                "tokenizer_config.json",
                "{\"bos_token\": {\"content\": \"<|im_start|>\", \"lstrip\": false}, \"eos_token\": \"<|im_end|>\","
                        + " \"pad_token\": \"<pad>\", \"model_max_length\": 1000000000000000019884624838656}");
        write("special_tokens_map.json", "{\"eos_token\": \"the config wins\", \"unk_token\": \"<|endoftext|>\"}");
        int n = Tokenizers.load(golden("gpt2-style/tokenizer.json")).vocabSize();
        Tokenizer t = Tokenizers.load(dir);
        assertThat(t.bos()).hasValue(1);
        assertThat(t.eos()).hasValue(2);
        assertThat(t.pad()).as("the next free id").hasValue(n);
        assertThat(t.vocabSize()).isEqualTo(n + 1);
        assertThat(t.isSpecial(n)).isTrue();
        assertThat(t.id("the config wins")).isEmpty();
    }

    @Test
    void theConfigAddsTokens() throws IOException {
        Files.copy(golden("gpt2-style/tokenizer.json"), dir.resolve("tokenizer.json"));
        int n = Tokenizers.load(golden("gpt2-style/tokenizer.json")).vocabSize();
        write("tokenizer_config.json", """
                {"added_tokens_decoder": {"%d": {"content": "<tool>", "special": true},
                 "%d": {"content": "<think>", "special": false, "normalized": false}},
                 "additional_special_tokens": ["<tool>"]}""".formatted(n, n + 1));
        Tokenizer t = Tokenizers.load(dir);
        assertThat(t.encode("<think>"))
                .as("no control token: read from any text")
                .containsExactly(n + 1);
        assertThat(t.encode("<tool>").length).isGreaterThan(1);
        assertThat(t.encode("<tool>", Tokenizer.Options.TEMPLATE).ids()).containsExactly(n);
        assertThat(t.decode(new int[] {n, n + 1})).isEqualTo("<think>");
    }

    @Test
    void llamaClassesPutBeginAndEndWhereTheConfigSays() throws IOException {
        Files.copy(golden("llama3-style/tokenizer.json"), dir.resolve("tokenizer.json"));
        write(
                "tokenizer_config.json",
                "{\"tokenizer_class\": \"LlamaTokenizerFast\", \"bos_token\": \"<|begin_of_text|>\","
                        + " \"eos_token\": \"<|end_of_text|>\", \"add_bos_token\": false, \"add_eos_token\": true}");
        assertThat(Tokenizers.load(dir).encode("", Tokenizer.Options.DOCUMENT).ids())
                .containsExactly(1);
        write("tokenizer_config.json", "{\"tokenizer_class\": \"PreTrainedTokenizerFast\", \"add_eos_token\": true}");
        assertThat(Tokenizers.load(dir).encode("", Tokenizer.Options.DOCUMENT).ids())
                .containsExactly(0);
    }

    @Test
    void sentencePieceFoldersBeginDocumentsUnlessTold() throws IOException {
        Files.copy(golden("sentencepiece-bpe/tokenizer.model"), dir.resolve("tokenizer.model"));
        Tokenizer t = Tokenizers.load(dir);
        int[] plain = t.encode("Hello");
        assertThat(t.encode("Hello", Tokenizer.Options.DOCUMENT).ids())
                .startsWith(t.bos().getAsInt());
        assertThat(t.encode("<s>Hello</s>", Tokenizer.Options.TEMPLATE).ids())
                .startsWith(t.bos().getAsInt())
                .endsWith(t.eos().getAsInt())
                .containsSequence(plain);
        write("tokenizer_config.json", "{\"add_bos_token\": false, \"legacy\": false}");
        Tokenizer newer = Tokenizers.load(dir);
        assertThat(newer.encode("Hello", Tokenizer.Options.DOCUMENT).ids()).isEqualTo(plain);
        assertThat(newer.decode(
                        newer.encode("<s>Hello", Tokenizer.Options.TEMPLATE).ids()))
                .isEqualTo("Hello");
        assertThat(newer.token(
                        newer.encode("<s>Hello", Tokenizer.Options.TEMPLATE).ids()[1]))
                .as("no blank is put after a control token")
                .doesNotStartWith("\u2581");
    }

    @Test
    void whatIsSavedOpensAsTheSameTokenizer() throws IOException {
        List<String> texts = List.of(
                "",
                "\t",
                "\n a\n",
                "Hello, world!",
                "It's 2024 \n\n 你好 caf\u00e9",
                "<|im_start|>user",
                "a  b",
                "\uD83D\uDE00 \u0000");
        for (String name : List.of(
                "gpt2-style/tokenizer.json",
                "llama3-style/tokenizer.json",
                "qwen-style/tokenizer.json",
                "sentencepiece-bpe/tokenizer.model")) {
            Tokenizer t = Tokenizers.load(golden(name));
            Path out = dir.resolve(name).getParent();
            Tokenizers.save(t, out);
            Tokenizer again = Tokenizers.load(out);
            assertThat(again.vocabSize()).isEqualTo(t.vocabSize());
            assertThat(again.bos()).isEqualTo(t.bos());
            for (String text : texts) {
                for (boolean special : new boolean[] {false, true}) {
                    var options = new Tokenizer.Options(special, special);
                    int[] ids = t.encode(text, options).ids();
                    assertThat(again.encode(text, options).ids())
                            .as(name + " " + text)
                            .isEqualTo(ids);
                    assertThat(again.decode(ids)).as(name + " " + text).isEqualTo(t.decode(ids));
                }
            }
            byte[] first = Files.readAllBytes(out.resolve("tokenizer.json"));
            Tokenizers.save(again, out);
            assertThat(Files.readAllBytes(out.resolve("tokenizer.json")))
                    .as(name)
                    .isEqualTo(first);
        }
    }
}
