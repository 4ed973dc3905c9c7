package anneal.data;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.Golden;
import anneal.text.Encoded;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Rows against TRL's pack_dataset (golden text/packing.json), and prompts against golden text/alpaca.json. */
class PackingGoldenTest {
    private static final ObjectMapper JSON = new ObjectMapper();

    @Test
    void rowsAreTheSame() throws IOException {
        int cases = 0;
        for (Path file : Golden.files("text", "packing.*\\.json")) {
            cases += rowsOf(JSON.readTree(file.toFile()));
        }
        Golden.report("text/packing", cases, 0);
    }

    private static int rowsOf(JsonNode golden) {
        int length = golden.get("length").intValue();
        List<int[]> sequences = new ArrayList<>();
        golden.get("sequences").forEach(s -> sequences.add(JSON.convertValue(s, int[].class)));
        int cases = 0;
        for (var e : golden.properties()) {
            EncodedDataset data = Fixtures.encoded(sequences);
            switch (e.getKey()) {
                case "sequences", "length" -> {
                    continue;
                }
                // TRL drops what is too long for a row, or splits it, depending on the strategy.
                case "bfd" -> compare(e.getValue(), data.truncate(length).pack(length));
                case "bfd_split" -> compare(e.getValue(), data.cut(length).pack(length));
                case "wrapped" -> compare(e.getValue(), data.wrap(length));
                default -> throw new AssertionError("no test for packing strategy " + e.getKey());
            }
            cases++;
        }
        return cases;
    }

    private static void compare(JsonNode expected, Batches batches) {
        List<int[]> rows = new ArrayList<>();
        List<List<Integer>> segments = new ArrayList<>();
        batches.apply(0).forEachRemaining(b -> {
            rows.add(b.ids());
            List<Integer> lengths = new ArrayList<>();
            for (int t = 0; t < b.length(); t++) {
                if (b.positions()[t] == 0) {
                    lengths.add(0);
                }
                lengths.set(lengths.size() - 1, lengths.getLast() + 1);
                assertThat(b.segments()[t]).isEqualTo(lengths.size() - 1);
            }
            segments.add(lengths);
        });
        assertThat(rows.stream().map(Arrays::toString).toList())
                .isEqualTo(Arrays.stream(JSON.convertValue(expected.get("input_ids"), int[][].class))
                        .map(Arrays::toString)
                        .toList());
        if (expected.has("seq_lengths")) {
            assertThat(segments.toString())
                    .isEqualTo(JSON.convertValue(expected.get("seq_lengths"), List.class)
                            .toString());
        }
    }

    @Test
    void alpacaPrompts() throws IOException {
        int cases = 0;
        for (Path file : Golden.files("text", "alpaca.*\\.json")) {
            for (JsonNode c : JSON.readTree(file.toFile())) {
                alpacaPrompt(c);
                cases++;
            }
        }
        Golden.report("text/alpaca", cases, 0);
    }

    private static void alpacaPrompt(JsonNode c) {
        Sample sample = Shapes.samples(c.get("record"), "r").getFirst();
        assertThat(sample).isInstanceOf(Sample.Instruction.class);
        Sample.Instruction i = (Sample.Instruction) sample;
        assertThat(Alpaca.prompt(i.instruction(), i.input()))
                .isEqualTo(c.get("prompt").textValue());
        assertThat(i.output()).isEqualTo(c.get("response").textValue());
        Encoded e = SampleEncoder.of(Fixtures.TOKENIZER).encode(sample);
        assertThat(Fixtures.text(e.ids()))
                .isEqualTo(c.get("prompt").textValue() + c.get("response").textValue() + "<eos>");
        assertThat(e.trainedCount())
                .isEqualTo(Fixtures.TOKENIZER.encode(c.get("response").textValue()).length + 1);
    }
}
