package anneal.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.nn.Attention;
import anneal.nn.Embedding;
import anneal.tensor.Memory;
import anneal.tensor.Rng;
import anneal.tensor.Shape;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Arrays;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The decoder with cache, prefix and vectors in front: all three are other ways to put tokens before tokens. */
class DecoderTest {
    private static final int[] A = {3, 7, 1, 12}, B = {5, 2, 9, 4, 11, 6};
    private final Arena arena = Arena.ofShared();
    private Memory.Scope scope;
    private Tape.Pause pause;

    @BeforeEach
    void open() {
        scope = Memory.scope();
        pause = Tape.pause();
    }

    @AfterEach
    void close() {
        pause.close();
        scope.close();
        arena.close();
    }

    private Decoder model(Family family) {
        DecoderConfig config = DecoderConfig.builder(family)
                .vocabSize(17)
                .hiddenSize(24)
                .feedForwardSize(32)
                .layers(3)
                .heads(6, family == Family.GPT2 ? 6 : 2, 0)
                .contextLength(20)
                .initRange(0.3)
                .build();
        return new Decoder(config, Init.usual(config).weights(config, 3, arena));
    }

    private static int[] concat(int[] a, int[] b) {
        int[] all = Arrays.copyOf(a, a.length + b.length);
        System.arraycopy(b, 0, all, a.length, b.length);
        return all;
    }

    /** Hidden states of B behind A. */
    private static float[] expected(Decoder model) {
        float[] all = model.hidden(Tokens.of(concat(A, B)), null).toArray();
        return Arrays.copyOfRange(all, all.length - B.length * 24, all.length);
    }

    private static void assertClose(float[] actual, float[] expected) {
        GoldenModel.close("hidden", actual, expected, 2e-5);
    }

    @ParameterizedTest
    @EnumSource(Family.class)
    void aCacheContinues(Family family) {
        Decoder model = model(family);
        try (KvCache cache = model.cache(1, 12)) {
            model.hidden(Tokens.of(A), cache);
            assertThat(cache.length()).isEqualTo(A.length);
            assertClose(model.hidden(Tokens.of(B), cache).toArray(), expected(model));
            cache.truncate(A.length);
            for (int i = 0; i < B.length; i++) {
                float[] one = model.hidden(Tokens.of(B[i]), cache).toArray();
                assertClose(one, Arrays.copyOfRange(expected(model), i * 24, (i + 1) * 24));
            }
            assertThatThrownBy(() -> model.hidden(Tokens.of(1, 2, 3), cache))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("KvCache: 10 + 3 tokens do not fit a capacity of 12");
        }
    }

    @ParameterizedTest
    @EnumSource(Family.class)
    void aPrefixIsAFilledCache(Family family) {
        Decoder model = model(family);
        float[] expected = expected(model);
        try (KvCache cache = model.cache(1, A.length)) {
            model.hidden(Tokens.of(A), cache);
            for (int i = 0; i < 3; i++) {
                model.attention(i).prefix(prefix(cache.keys(i), cache.values(i)));
            }
            assertClose(model.hidden(Tokens.of(B), null).toArray(), expected);
            int[] oneSegment = new int[B.length];
            assertClose(
                    model.hidden(new Tokens(B, 1, B.length, null, oneSegment), null)
                            .toArray(),
                    expected);
            try (KvCache behind = model.cache(1, B.length)) {
                float[] first =
                        model.hidden(Tokens.of(Arrays.copyOf(B, 2)), behind).toArray();
                float[] rest = model.hidden(Tokens.of(Arrays.copyOfRange(B, 2, B.length)), behind)
                        .toArray();
                assertClose(first, Arrays.copyOf(expected, first.length));
                assertClose(rest, Arrays.copyOfRange(expected, first.length, expected.length));
            }
        }
    }

    private static Attention.Prefix prefix(Tensor keys, Tensor values) {
        Tensor k = keys.view(A.length, keys.rowSize()), v = values.view(A.length, values.rowSize());
        return new Attention.Prefix() {
            @Override
            public int length() {
                return A.length;
            }

            @Override
            public Tensor keys() {
                return k;
            }

            @Override
            public Tensor values() {
                return v;
            }
        };
    }

    @ParameterizedTest
    @EnumSource(Family.class)
    void vectorsInFrontAreTokensInFront(Family family) {
        Decoder model = model(family);
        float[] expected = expected(model);
        Tensor front = model.embedding().weight().rows(A);
        model.embedding().plug(new Embedding.Plug() {
            @Override
            public Tensor front() {
                return front;
            }
        });
        assertClose(model.hidden(Tokens.of(B), null).toArray(), expected);
        Tokens padded = new Tokens(
                concat(concat(new int[] {0, 0}, Arrays.copyOf(B, 4)), B),
                2,
                6,
                new int[] {0, 0, 0, 1, 2, 3, 0, 1, 2, 3, 4, 5},
                new int[] {-1, -1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
        float[] two = model.hidden(padded, null).toArray();
        assertClose(Arrays.copyOfRange(two, 2 * 24, 6 * 24), Arrays.copyOf(expected, 4 * 24));
        assertClose(Arrays.copyOfRange(two, 6 * 24, 12 * 24), expected);
        Tokens packed = new Tokens(B, 1, 6, null, new int[] {0, 0, 0, 1, 1, 1});
        assertThatThrownBy(() -> model.hidden(packed, null))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage(
                        "hidden: row 0 packs 2 sequences, but vectors in front or a key/value prefix belong to one");
    }

    @Test
    void gradientFlowsIntoPrefixAndFront() {
        pause.close();
        Decoder model = model(Family.LLAMA);
        model.freeze();
        Rng rng = new Rng(4);
        Tensor front = Tensor.allocate(arena, Shape.of(2, 24)).trainable(true);
        Tensor keys = Tensor.allocate(arena, Shape.of(3, 8)).trainable(true);
        Tensor values = Tensor.allocate(arena, Shape.of(3, 8)).trainable(true);
        for (Tensor t : new Tensor[] {front, keys, values}) {
            float[] a = new float[(int) t.size()];
            for (int i = 0; i < a.length; i++) {
                a[i] = (float) rng.nextGaussian();
            }
            t.set(a);
        }
        model.embedding().plug(new Embedding.Plug() {
            @Override
            public Tensor front() {
                return front;
            }
        });
        Attention.Prefix prefix = new Attention.Prefix() {
            @Override
            public int length() {
                return 3;
            }

            @Override
            public Tensor keys() {
                return keys;
            }

            @Override
            public Tensor values() {
                return values;
            }
        };
        model.attention(1).prefix(prefix);
        Tokens tokens = Tokens.of(concat(B, B), 2, 6);
        assertThatThrownBy(() -> model.hidden(tokens, null))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("hidden: layer 1 has a key/value prefix of 3, layer 0 one of 0; all must be equally long");
        Tape.clear();
        model.attention(0).prefix(prefix);
        model.attention(2).prefix(prefix);
        int[] targets = concat(A, new int[] {1, -1, 2, 2, 3, -1, 0, 1});
        Tape.backward(anneal.tensor.Ops.sum(model.nll(tokens, targets)));
        pause = Tape.pause();
        for (Tensor t : new Tensor[] {front, keys, values}) {
            float[] a = t.toArray(), g = t.grad().toArray();
            for (int i = 0; i < a.length; i += 5) {
                float at = a[i], step = 1e-2f;
                a[i] = at + step;
                t.set(a);
                double up = anneal.tensor.Ops.sum(model.nll(tokens, targets)).item();
                a[i] = at - step;
                t.set(a);
                double down = anneal.tensor.Ops.sum(model.nll(tokens, targets)).item();
                a[i] = at;
                t.set(a);
                assertThat((up - down) / (2 * step)).isCloseTo(g[i], org.assertj.core.data.Offset.offset(5e-3));
            }
        }
    }

    @Test
    void aCacheTakesNoGradient() {
        pause.close();
        Decoder model = model(Family.GPT2);
        try (KvCache cache = model.cache(1, 8)) {
            assertThatThrownBy(() -> model.hidden(Tokens.of(1, 2), cache))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("attention: no gradient flows through a cache; pause the tape to decode"
                            + " (at transformer.h.0.attn)");
        } finally {
            Tape.clear();
            pause = Tape.pause();
        }
    }

    @Test
    void aSequenceOverTheLimitIsAnError() {
        Decoder model = model(Family.GPT2);
        assertThatThrownBy(() -> model.hidden(Tokens.of(new int[21]), null))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("hidden: a sequence of 21 tokens is longer than the 20 positions the model was made for");
    }

    @Test
    void aTokenOutOfRangeIsAnError() {
        Decoder model = model(Family.LLAMA);
        assertThatThrownBy(() -> model.hidden(Tokens.of(3, 17), null))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("id 17 is outside the table [17, 24]");
        assertThatThrownBy(() -> model.nll(Tokens.of(3, 4), new int[] {18, -1}))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("target 18 is outside the 17 classes");
    }

    @Test
    void parametersAreCountedWithoutBuildingThem() {
        for (Family family : Family.values()) {
            Decoder model = model(family);
            long sum =
                    model.parameters().values().stream().mapToLong(Tensor::size).sum();
            assertThat(model.config().parameterCount()).isEqualTo(sum);
        }
    }
}
