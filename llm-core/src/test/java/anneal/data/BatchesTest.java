package anneal.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.text.Encoded;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Random;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.Size;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class BatchesTest {
    /** Samples whose tokens are all different: token = 1000 * sample + position. */
    private static EncodedDataset data(int... lengths) {
        List<int[]> sequences = new ArrayList<>();
        for (int s = 0; s < lengths.length; s++) {
            int base = 1000 * s;
            sequences.add(IntStream.range(base, base + lengths[s]).toArray());
        }
        return Fixtures.encoded(sequences);
    }

    private static List<Batch> all(Batches batches, int epoch) {
        List<Batch> out = new ArrayList<>();
        batches.apply(epoch).forEachRemaining(out::add);
        return out;
    }

    private static String show(Batch b) {
        return Arrays.toString(b.ids()) + Arrays.toString(b.targets()) + Arrays.toString(b.segments())
                + Arrays.toString(b.positions()) + b.batch() + "x" + b.length() + b.names();
    }

    private static List<String> show(Batches batches, int epoch) {
        return all(batches, epoch).stream().map(BatchesTest::show).toList();
    }

    @Test
    void aPackedBatchByHand() {
        // longest first: sample 1 (3 tokens) takes row 0, sample 0 (2) fits only a new row with 2 left; sample 2 (1)
        // best fits row 0.
        Batch b = data(2, 3, 1).pack(4).batches(2).apply(0).next();
        assertThat(b.batch()).isEqualTo(2);
        assertThat(b.length()).isEqualTo(4);
        assertThat(b.ids()).containsExactly(1000, 1001, 1002, 2000, 0, 1, 0, 0);
        assertThat(b.targets()).containsExactly(1001, 1002, -1, -1, 1, -1, -1, -1);
        assertThat(b.segments()).containsExactly(0, 0, 0, 1, 0, 0, -1, -1);
        assertThat(b.positions()).containsExactly(0, 1, 2, 0, 0, 1, 0, 0);
        assertThat(b.names()).containsExactly("s1", "s2", "s0");
        assertThat(b.tokens()).isEqualTo(6);
        assertThat(b.trainedTokens()).isEqualTo(3);
    }

    @Test
    void aPaddedBatchByHand() {
        Batch b = data(2, 3).pad().batches(2).apply(0).next();
        assertThat(b.ids()).containsExactly(0, 1, 0, 1000, 1001, 1002);
        assertThat(b.targets()).containsExactly(1, -1, -1, 1001, 1002, -1);
        assertThat(b.segments()).containsExactly(0, 0, -1, 0, 0, 0);
        assertThat(b.positions()).containsExactly(0, 1, 0, 0, 1, 2);
    }

    @Test
    void untrainedTokensAreNoTargets() {
        EncodedDataset d = EncodedDataset.of(
                List.of(new Sample.Text("a", "")),
                s -> new Encoded(new int[] {7, 8, 9, 10}, new boolean[] {true, false, true, true}),
                5);
        assertThat(d.pad().apply(0).next().targets()).containsExactly(-1, 9, 10, -1);
        assertThat(d.trainedTokens()).isEqualTo(2);
        assertThat(d.cut(2).pack(2).batches(2).apply(0).next().targets())
                .as("the target of a piece's last token stands in the next piece")
                .containsExactly(-1, 9, 10, -1);
        assertThat(d.truncate(3).pad().apply(0).next().targets()).containsExactly(-1, 9, -1);
        assertThatThrownBy(() -> d.truncate(2))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("a: no trained token is left of 4 when truncated to 2");
    }

    @Property(tries = 150)
    void packingHoldsEveryTokenOnceWithLittleWaste(
            @ForAll @Size(min = 1, max = 60) List<@IntRange(min = 1, max = 40) Integer> lengths,
            @ForAll @IntRange(min = 1, max = 5) int rows,
            @ForAll @IntRange(min = 0, max = 3) int epoch) {
        int capacity = 40;
        EncodedDataset d = data(lengths.stream().mapToInt(i -> i).toArray());
        Batches batches = d.pack(capacity).batches(rows).shuffled(epoch * 31L);
        Map<Integer, Integer> seen = new HashMap<>();
        List<Integer> fill = new ArrayList<>();
        int count = 0;
        for (Batch b : all(batches, epoch)) {
            count++;
            for (int r = 0; r < b.batch(); r++) {
                fill.add(checkRow(b, r, lengths, seen));
            }
        }
        assertThat(count).isEqualTo(batches.count());
        assertThat(seen).hasSize((int) d.tokens());
        assertThat(seen.values()).allMatch(n -> n == 1);
        // Best fit leaves no two rows that would fit into one.
        fill.sort(null);
        assertThat(fill.size() < 2 || fill.get(0) + fill.get(1) > capacity).isTrue();
    }

    /** Checks one row, counts its tokens into {@code seen}, returns how many it holds. */
    private static int checkRow(Batch b, int r, List<Integer> lengths, Map<Integer, Integer> seen) {
        int n = 0;
        int segment = -1;
        for (int t = r * b.length(); t < (r + 1) * b.length(); t++) {
            if (b.segments()[t] < 0) {
                assertThat(b.targets()[t]).isEqualTo(-1);
                assertThat(b.segments()[Math.min(t + 1, (r + 1) * b.length() - 1)])
                        .isEqualTo(-1);
                continue;
            }
            int sample = b.ids()[t] / 1000;
            int position = b.ids()[t] % 1000;
            assertThat(b.positions()[t]).isEqualTo(position);
            segment += position == 0 ? 1 : 0;
            assertThat(b.segments()[t]).isEqualTo(segment);
            boolean last = position == lengths.get(sample) - 1;
            assertThat(b.targets()[t]).isEqualTo(last ? -1 : b.ids()[t] + 1);
            if (!last) {
                assertThat(b.ids()[t + 1]).as("no sample is split").isEqualTo(b.ids()[t] + 1);
            }
            seen.merge(b.ids()[t], 1, Integer::sum);
            n++;
        }
        return n;
    }

    @Property(tries = 100)
    void cuttingAndWrappingLoseNoTarget(
            @ForAll @Size(min = 1, max = 30) List<@IntRange(min = 1, max = 50) Integer> lengths,
            @ForAll @IntRange(min = 1, max = 20) int capacity) {
        EncodedDataset d = data(lengths.stream().mapToInt(i -> i).toArray());
        List<Batches> ways = List.of(
                d.wrap(capacity).batches(3),
                d.cut(capacity).pack(capacity).batches(3).shuffled(1),
                d.pad().batches(2));
        List<Integer> expected = new ArrayList<>();
        for (int s = 0; s < lengths.size(); s++) {
            IntStream.range(1000 * s + 1, 1000 * s + lengths.get(s)).forEach(expected::add);
        }
        for (Batches way : ways) {
            List<Integer> targets = new ArrayList<>();
            int tokens = 0;
            for (Batch b : all(way, 0)) {
                tokens += b.tokens();
                for (int t = 0; t < b.ids().length; t++) {
                    if (b.targets()[t] >= 0) {
                        assertThat(b.targets()[t]).isEqualTo(b.ids()[t] + 1);
                        targets.add(b.targets()[t]);
                    }
                }
            }
            assertThat(targets).containsExactlyInAnyOrderElementsOf(expected);
            assertThat(tokens).isEqualTo((int) d.tokens()).isEqualTo((int) way.tokens());
            assertThat(way.trainedTokens()).isEqualTo(expected.size());
        }
        List<Batch> wrapped = all(d.wrap(capacity), 0);
        assertThat(wrapped.subList(0, wrapped.size() - 1)).allMatch(b -> b.tokens() == capacity);
    }

    @Test
    void epochsDifferAndCanBeReplayed() {
        int[] lengths = new Random(3).ints(200, 1, 60).toArray();
        for (Batches batches : List.of(
                data(lengths).pack(64).batches(4).shuffled(42),
                data(lengths).pad().batches(4).shuffled(42),
                data(lengths).pad().batches(4).groupedByLength().shuffled(42))) {
            assertThat(show(batches, 1)).isEqualTo(show(batches, 1)).isNotEqualTo(show(batches, 0));
            assertThat(show(batches, 1)).hasSize(batches.count());
            assertThat(show(batches.shuffled(43), 0)).isNotEqualTo(show(batches, 0));
            assertThat(show(batches.shuffled(42), 5)).isEqualTo(show(batches, 5));
        }
        Batches still = data(lengths).pack(64).batches(4);
        assertThat(show(still, 1)).isEqualTo(show(still, 0));
    }

    @Test
    void groupingSavesPadding() {
        int[] lengths = new Random(5).ints(400, 1, 200).toArray();
        Batches plain = data(lengths).pad().batches(8).shuffled(1);
        Batches grouped = plain.groupedByLength();
        assertThat(all(grouped, 0).stream().mapToInt(b -> b.ids().length).sum())
                .isLessThan(all(plain, 0).stream().mapToInt(b -> b.ids().length).sum() * 3 / 4);
        assertThat(all(grouped, 0).stream().mapToInt(Batch::tokens).sum()).isEqualTo((int) plain.tokens());
        assertThat(all(grouped, 0).getFirst().length()).isNotEqualTo(200);
    }

    @Test
    void splitIsDisjointAndComplete() {
        EncodedDataset d = data(new Random(7).ints(50, 1, 9).toArray());
        EncodedDataset.Split split = d.split(0.2, 9);
        assertThat(split.validation().size()).isEqualTo(10);
        List<String> names = new ArrayList<>();
        all(split.train().pad(), 0).forEach(b -> names.addAll(b.names()));
        assertThat(names).hasSize(40);
        all(split.validation().pad(), 0).forEach(b -> names.addAll(b.names()));
        assertThat(names).doesNotHaveDuplicates().hasSize(50);
        assertThat(show(d.split(0.2, 9).validation().pad(), 0))
                .isEqualTo(show(split.validation().pad(), 0));
        assertThat(show(d.split(0.2, 10).validation().pad(), 0))
                .isNotEqualTo(show(split.validation().pad(), 0));
        assertThat(d.split(1e-9, 1).validation().size()).isEqualTo(1);
        assertThatThrownBy(() -> d.split(1, 1))
                .hasMessageStartingWith("split: fraction 1.0 of 50 samples must be between");
        assertThatThrownBy(() -> d.cut(3).split(0.5, 1)).hasMessage("split: must come before samples are cut up");
    }

    @Test
    void errors() {
        EncodedDataset d = data(2, 9);
        assertThatThrownBy(() -> d.pack(8))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("s1: has 9 tokens, more than the maximum length 8; truncate or cut up long samples");
        assertThat(d.requireAtMost(9).longest()).isEqualTo(9);
        assertThatThrownBy(() -> d.truncate(0)).hasMessage("maximum length 0 must be positive");
        assertThatThrownBy(() -> d.pad().batches(0)).hasMessage("batches: batch size 0 must be positive");
        assertThatThrownBy(() -> d.pack(9).groupedByLength())
                .hasMessage("groupedByLength: packed rows are all of about the same length");
        Iterator<Batch> it = d.pad().batches(2).apply(3);
        it.next();
        assertThatThrownBy(it::next).isInstanceOf(NoSuchElementException.class).hasMessage("epoch 3 has 1 batches");
        assertThatThrownBy(() -> new Batch(new int[4], new int[4], new int[3], new int[4], 2, 2, List.of()))
                .hasMessage("Batch: ids [4], targets [4], segments [3] and positions [4] must be [2, 2]");
    }

    @Test
    void theWholeWayFromAFile(@TempDir Path dir) throws IOException {
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < 100; i++) {
            lines.append("{\"messages\": [{\"role\": \"user\", \"content\": \"" + "q".repeat(i)
                    + "\"}, {\"role\": \"assistant\", \"content\": \"a" + i + "\"}]}\n");
        }
        Path file = Files.writeString(dir.resolve("train.jsonl"), lines);
        Batches batches =
                Jsonl.chats(file).encode(Fixtures.CHAT).pack(256).batches(8).shuffled(42);
        List<String> names = new ArrayList<>();
        int trained = 0;
        for (Batch b : all(batches, 0)) {
            names.addAll(b.names());
            trained += b.trainedTokens();
        }
        assertThat(names).hasSize(100).doesNotHaveDuplicates().contains("train.jsonl:1", "train.jsonl:100");
        assertThat((long) trained).isEqualTo(batches.trainedTokens()).isEqualTo(10 * 3 + 90 * 4);
    }
}
