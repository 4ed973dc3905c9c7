package anneal.cli;

import static anneal.cli.Cli.bad;
import static anneal.cli.Cli.ok;
import static anneal.cli.Cli.with;
import static org.assertj.core.api.Assertions.assertThat;

import anneal.TinyModelFixture;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.EnumSource.Mode;

/** sft with every adapter: trained on a plain and on a quantised base, resumed, used, merged; what does not go together. */
class SftAdaptersTest extends TinyModelFixture {
    private static final Set<AdapterName> NO_WEIGHT =
            Set.of(AdapterName.prefix_tuning, AdapterName.prompt_tuning, AdapterName.p_tuning, AdapterName.bottleneck);

    private List<Object> sft(Path output, int steps, Object... more) {
        return with(Cli.tune(model, data, output, steps), more);
    }

    /** One flag of the method that makes it small, if it has one. */
    static Object[] small(AdapterName method) {
        return switch (method) {
            case lora, adalora, loha, lokr, vera -> new Object[] {"--adapter", method, "--rank", 2};
            case prefix_tuning, prompt_tuning, p_tuning -> new Object[] {"--adapter", method, "--virtual-tokens", 4};
            case trainable_tokens -> new Object[] {"--adapter", method, "--token-ids", "1,2,40,41,42,43,44,45,46"};
            default -> new Object[] {"--adapter", method};
        };
    }

    private static byte[] weights(Path run) throws IOException {
        try (Stream<Path> files = Files.list(run)) {
            List<Path> weights =
                    files.filter(f -> f.toString().endsWith(".safetensors")).toList();
            assertThat(weights).hasSize(1);
            return Files.readAllBytes(weights.getFirst());
        }
    }

    @ParameterizedTest
    @EnumSource(mode = Mode.EXCLUDE, names = "bitfit")
    void everyAdapterTrainsGoesOnIsUsedAndMerged(AdapterName method) throws IOException {
        Path whole = dir.resolve("whole"), parts = dir.resolve("parts"), start = dir.resolve("start");
        Object[] same = {"--lr-scheduler", "constant", "--warmup", 0, "--valid-split", 0};
        ok(with(sft(whole, 4, small(method)), same).toArray());
        ok(with(sft(parts, method == AdapterName.adalora ? 4 : 2, small(method)), same)
                .toArray());
        ok(with(with(sft(parts, 4, small(method)), same), "--resume").toArray());
        assertThat(weights(parts)).isEqualTo(weights(whole));
        assertThat(Files.readString(whole.resolve("config.yaml")))
                .contains("adapter: " + method, "learning-rate: " + method.rate);
        ok(with(sft(start, 2, small(method)), same).toArray());
        assertThat(weights(start)).isNotEqualTo(weights(whole));

        List<Object> ask = List.of("generate", "--model", model, "--adapter", whole, "--prompt", "What colour is");
        String answer = ok(with(ask, "--max-tokens", 4).toArray()).out();
        List<Object> merge = List.of(
                "merge", "--model", model, "--adapter", whole, "--output", dir.resolve("merged"), "--dtype", "f32");
        if (NO_WEIGHT.contains(method)) {
            bad(merge, "merge: ", "keep the adapter beside the model");
            assertThat(dir.resolve("merged")).doesNotExist();
            return;
        }
        ok(merge.toArray());
        assertThat(ok("generate", "--model", dir.resolve("merged"), "--prompt", "What colour is", "--max-tokens", 4)
                        .out())
                .isEqualTo(answer);
    }

    @ParameterizedTest
    @EnumSource(mode = Mode.EXCLUDE, names = "bitfit")
    void everyAdapterTrainsOnAQuantisedBase(AdapterName method) throws IOException {
        Path out = dir.resolve("run"), one = dir.resolve("one");
        int steps = method == AdapterName.adalora ? 12 : 3; // ranks need some steps to be chosen by
        Cli run = ok(sft(
                        out,
                        steps,
                        with(List.of(small(method)), "--quantize", "nf4").toArray())
                .toArray());
        assertThat(run.out()).contains("held in NF4-DQ", "step " + steps + "/" + steps);
        ok(sft(one, steps - 1, with(List.of(small(method)), "--quantize", "nf4").toArray())
                .toArray());
        assertThat(weights(one)).isNotEqualTo(weights(out));
    }

    @Test
    void adaptersThatTheModelCannotHave() {
        bad(sft(dir.resolve("no"), 2, "--adapter", "bitfit"), "BitFit: the model has no biases to train");
        bad(sft(dir.resolve("no"), 2, "--adapter", "trainable_tokens", "--token-ids", "5,300"), "300");
        bad(
                sft(dir.resolve("no"), 2, "--adapter", "p_tuning", "--max-seq-length", 90),
                "--max-seq-length 90 and 20 virtual tokens are over the model's limit of 96 positions");
        for (String method : List.of("prefix_tuning", "prompt_tuning", "p_tuning")) {
            bad(
                    sft(dir.resolve("no"), 2, "--adapter", method, "--packing"),
                    "--packing does not go with --adapter " + method);
        }
        assertThat(dir.resolve("no")).doesNotExist();
    }

    @Test
    void flagsThatWouldBeIgnoredAreRefused() {
        List<Object> run = sft(dir.resolve("no"), 2);
        bad(with(run, "--adalora-tinit", 0.1), "--adalora-tinit does not go with --adapter lora");
        bad(with(run, "--adapter", "adalora", "--rslora"), "--rslora does not go with --adapter adalora");
        bad(with(run, "--adapter", "ia3", "--rank", 4), "--rank does not go with --adapter ia3");
        bad(with(run, "--adapter", "bottleneck", "--target", "q_proj"), "--target does not go with --adapter bottlene");
        bad(with(run, "--alpha", -1), "--alpha -1.0 must be a positive number");
        bad(with(run, "--adapter", "loha", "--alpha", 0), "--alpha 0.0 must be a positive number");
        bad(with(run, "--virtual-tokens", 4), "--virtual-tokens does not go with --adapter lora");
        bad(with(run, "--adapter", "p_tuning", "--virtual-tokens", 0), "0 virtual tokens, must be at least 1");
        bad(with(run, "--token-ids", 4), "--token-ids does not go with --adapter lora");
        bad(with(run, "--adapter", "trainable_tokens"), "--adapter trainable_tokens needs --token-ids");
        bad(with(run, "--adapter", "trainable_tokens", "--token-ids", "4;5"), "whole numbers", ", not 4;5");
        bad(with(run, "--full", "--adapter", "adalora"), "--adapter does not go with --full");
        bad(with(run, "--full", "--rank", 2), "--rank does not go with --full");
        assertThat(dir.resolve("no")).doesNotExist();
        assertThat(ok("sft", "--help").out()).contains("lora, adalora, ia3", "prefix_tuning", "--virtual-tokens");
    }
}
