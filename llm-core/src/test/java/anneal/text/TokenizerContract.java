package anneal.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.Golden;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Assume;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.junit.jupiter.api.Assertions;

/** What every tokenizer must do. A subclass gives the tokenizer and says what it does to text. */
abstract class TokenizerContract {
    abstract Tokenizer tokenizer();

    /** What decoding gives back for {@code text}: the text, unless the tokenizer normalises. */
    String normalised(String text) {
        return text;
    }

    /** False if normalising may drop or join characters of {@code text}: then not each lies in a token's span. */
    boolean coversText(String text) {
        return true;
    }

    /** The part of a random text that {@link #normalised} can speak of. */
    String prepared(String text) {
        return text;
    }

    /** A folder or file under the golden text folder. */
    static Tokenizer golden(String path) {
        Path file = Golden.root().resolve("text").resolve(path);
        return Tokenizers.load(file);
    }

    @Provide
    static Arbitrary<String> texts() {
        Arbitrary<Integer> codePoints = Arbitraries.frequencyOf(
                net.jqwik.api.Tuple.of(8, Arbitraries.integers().between(0x20, 0x7E)),
                net.jqwik.api.Tuple.of(4, Arbitraries.of((int) ' ', (int) '\n', (int) '\r', (int) '\t', 0xA0, 0x3000)),
                net.jqwik.api.Tuple.of(2, Arbitraries.integers().between('0', '9')),
                net.jqwik.api.Tuple.of(2, Arbitraries.integers().between(0x4E00, 0x9FFF)),
                net.jqwik.api.Tuple.of(1, Arbitraries.integers().between(0x300, 0x36F)),
                net.jqwik.api.Tuple.of(1, Arbitraries.integers().between(0x1F300, 0x1FAFF)),
                net.jqwik.api.Tuple.of(1, Arbitraries.integers().between(0, 0xD7FF)),
                net.jqwik.api.Tuple.of(1, Arbitraries.integers().between(0xE000, 0x10FFFF)),
                net.jqwik.api.Tuple.of(1, Arbitraries.of((int) '\'', (int) 's', (int) 'L', 0x17F, 0x2581)));
        return codePoints.list().ofMaxSize(120).map(list -> {
            StringBuilder s = new StringBuilder();
            list.forEach(s::appendCodePoint);
            return s.toString();
        });
    }

    @Property(tries = 300)
    void decodingGivesBackTheText(@ForAll("texts") String random) {
        Tokenizer t = tokenizer();
        String text = prepared(random);
        assertThat(t.decode(t.encode(text))).isEqualTo(normalised(text));
    }

    @Property(tries = 200)
    void spansAreInOrderAndCoverTheText(@ForAll("texts") String text) {
        Encoding e = tokenizer().encode(text, Tokenizer.Options.PLAIN);
        int covered = 0;
        for (int i = 0; i < e.length(); i++) {
            assertThat(e.starts()[i]).isBetween(0, e.ends()[i]);
            assertThat(e.ends()[i]).isLessThanOrEqualTo(text.length());
            if (coversText(text)) {
                assertThat(e.starts()[i]).as("start of token " + i).isLessThanOrEqualTo(covered);
            }
            assertThat(e.ends()[i]).as("end of token " + i).isGreaterThanOrEqualTo(covered);
            covered = e.ends()[i];
        }
        if (coversText(text)) {
            assertThat(covered).isEqualTo(text.length());
        }
    }

    @Property(tries = 200)
    void streamingGivesTheSameTextInWholeCharacters(@ForAll("texts") String text) {
        Assume.that(text.indexOf('\uFFFD') < 0);
        Tokenizer t = tokenizer();
        int[] ids = t.encode(text);
        StringBuilder out = new StringBuilder();
        StreamDecoder stream = t.stream(true);
        for (int id : ids) {
            String piece = stream.next(id);
            assertThat(piece).doesNotContain("\uFFFD");
            assertThat(piece.isEmpty() || !Character.isHighSurrogate(piece.charAt(piece.length() - 1)))
                    .isTrue();
            out.append(piece);
        }
        assertThat(stream.finish()).isEmpty();
        assertThat(out.toString()).isEqualTo(t.decode(ids));
    }

    @Property(tries = 200)
    void streamingEqualsWholeDecodingForAnyIds(@ForAll long seed) {
        Tokenizer t = tokenizer();
        int[] ids = new java.util.Random(seed).ints(40, 0, t.vocabSize()).toArray();
        for (boolean skip : new boolean[] {true, false}) {
            StreamDecoder stream = t.stream(skip);
            StringBuilder out = new StringBuilder();
            for (int id : ids) {
                out.append(stream.next(id));
            }
            out.append(stream.finish());
            assertThat(out.toString()).isEqualTo(t.decode(ids, skip));
        }
    }

    @Property(tries = 50)
    void controlTokensInTextAreTextUnlessAskedFor(@ForAll("texts") String text) {
        Tokenizer t = tokenizer();
        for (int id = 0; id < t.vocabSize(); id++) {
            if (t.isSpecial(id)) {
                int special = id;
                String s = prepared(text) + t.token(id);
                assertThat(java.util.Arrays.stream(t.encode(s)).noneMatch(t::isSpecial))
                        .isTrue();
                assertThat(t.decode(t.encode(s))).isEqualTo(normalised(s));
                assertThat(t.encode(s, Tokenizer.Options.TEMPLATE).ids()).contains(special);
            }
        }
    }

    @Example
    void spellingsAndIdsAreInverse() {
        Tokenizer t = tokenizer();
        for (int id = 0; id < t.vocabSize(); id++) {
            assertThat(t.id(t.token(id))).isEqualTo(OptionalInt.of(id));
        }
        assertThat(t.id("no such token, surely")).isEmpty();
        assertThatThrownBy(() -> t.token(t.vocabSize()))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("token: id " + t.vocabSize() + " is not in the vocabulary of " + t.vocabSize());
    }

    @Example
    void idsOfPaddingRowsDecodeToNothing() {
        Tokenizer t = tokenizer();
        assertThat(t.decode(new int[] {t.vocabSize(), t.vocabSize() + 7, -1})).isEmpty();
    }

    @Example
    void threadsDoNotDisturbEachOther() {
        Tokenizer t = tokenizer();
        List<String> texts = new ArrayList<>();
        for (int i = 0; i < 200; i++) {
            texts.add("Some text " + i + " with wörds, 数字 " + i * 7919 + " and\n\nlines " + "z".repeat(i));
        }
        List<int[]> alone = texts.stream().map(t::encode).toList();
        IntStream.range(0, 2_000)
                .parallel()
                .forEach(i -> assertThat(t.encode(texts.get(i % 200))).isEqualTo(alone.get(i % 200)));
    }

    @Example
    void aMegabyteWithoutABlankTakesNoQuadraticTime() {
        Tokenizer t = tokenizer();
        for (String unit : List.of("a", "ab", "xkq", "你好", "\u0000")) {
            String text = unit.repeat((1 << 20) / unit.length());
            Assertions.assertTimeout(
                    Duration.ofSeconds(30),
                    () -> assertThat(t.decode(t.encode(text)).equals(normalised(text)))
                            .as(unit)
                            .isTrue());
        }
    }
}
