package anneal;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.FileVisitOption;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/**
 * Every file of the golden folder is read by some test: one under a name that no test looks for would otherwise pass unseen.
 *
 * <p>Whether a model, a vocabulary or an adapter is of a kind that this version reads is said by the test that takes its folder.
 */
class GoldenCensusTest {
    /** Read by the golden tests, as paths in the golden folder. */
    private static final List<String> READ = List.of(
            "parts/(attention|optim|sampling)[^/]*\\.(json|safetensors)",
            "parts/schedules[^/]*\\.json",
            "text/(packing|alpaca)[^/]*\\.json",
            "text/bpe-training/[^/]+\\.(json|txt)",
            "text/chat/(templates|cases|jinja)\\.json",
            "text/[^/]+/(vectors\\.json|about\\.json|tokenizer\\.(json|model))",
            "real/(golden\\.(json|safetensors)|lora\\.safetensors)",
            "models/[^/]+/(config|generation_config|generation|golden)\\.json",
            "models/[^/]+/(golden|model[^/]*)\\.safetensors(\\.index\\.json)?",
            "peft/base/.+",
            "peft/[^/]+/golden\\.(json|safetensors)",
            "peft/continual[^/]*/(ewc|olora)\\.(json|safetensors)",
            "peft/combine[^/]*/[^/]+/(adapter_config\\.json|adapter_model\\.safetensors)",
            "peft/[^/]+/(init/)?(adapter_config\\.json|adapter_model\\.safetensors|README\\.md)",
            "quant/(gguf-blocks|four-bit|groupwise|distillation)[^/]*\\.(json|safetensors)",
            "quant/(adam8bit|blockwise-8bit|bnb-checkpoint|int8|pruning)[^/]*\\.safetensors",
            "quant/dynamic-map[^/]*\\.json",
            "quant/qlora/.+");

    /** Areas that wait for what they are about, the scripts and the explanations. */
    private static final List<String> NOT_YET = List.of(
            "parts/(baichuan|bert|marian|t5)[^/]*/.+",
            "text/metrics[^/]*\\.json",
            "peft/bottleneck-[^/]+/.+",
            "quant/.+",
            "align/.+",
            "make/.+",
            "((models|peft)/)?README\\.md");

    private static List<String> files() throws IOException {
        Path root = Golden.root();
        try (Stream<Path> walk = Files.walk(root, FileVisitOption.FOLLOW_LINKS)) {
            return walk.filter(Files::isRegularFile)
                    .map(f -> root.relativize(f).toString().replace('\\', '/'))
                    .sorted()
                    .toList();
        }
    }

    @Test
    void everyFileIsReadByATest() throws IOException {
        List<String> unread = files().stream()
                .filter(f -> Stream.concat(READ.stream(), NOT_YET.stream()).noneMatch(f::matches))
                .toList();
        assertThat(unread).as("files of %s that no test reads", Golden.root()).isEmpty();
    }

    /** The tests find a case by one file of it and open the others from there. */
    @Test
    void everyCaseHasTheFileByWhichItIsFound() throws IOException {
        for (String file : files()) {
            if (file.matches("parts/[^/]+\\.safetensors")) {
                assertThat(Golden.root().resolve(file.replace(".safetensors", ".json")))
                        .exists();
            } else if (file.matches("parts/sampling[^/]*\\.json")) {
                assertThat(Golden.root().resolve(file.replace(".json", ".safetensors")))
                        .exists();
            } else if (file.matches("text/[^/]+/(tokenizer|about)\\..+")) {
                assertThat(Golden.root().resolve(file).resolveSibling("vectors.json"))
                        .exists();
            }
        }
    }
}
