package anneal.kernels;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class AttentionArgumentsTest {
    /** 2 rows of 3 queries and 5 keys, 4 heads, with one thing wrong. */
    private static Attention of(
            int kvHeads, int capacity, int window, int queries, int keys, int slopes, float cap, float dropout) {
        return new Attention(
                2,
                3,
                5,
                capacity,
                4,
                kvHeads,
                8,
                1f,
                true,
                window,
                queries < 0 ? null : new int[queries],
                keys < 0 ? null : new int[keys],
                slopes < 0 ? null : new float[slopes],
                cap,
                dropout,
                0L);
    }

    @ParameterizedTest
    @CsvSource({
        "3, 5, 0, -1, -1, -1, 0, 0, 4 heads are no multiple of 3 key heads",
        "2, 4, 0, -1, -1, -1, 0, 0, 5 keys are more than the 4 rows there are",
        "2, 5, -1, -1, -1, -1, 0, 0, window -1 is negative",
        "2, 5, 0, 6, -1, -1, 0, 0, queries and keys need segments both or neither",
        "2, 5, 0, 5, 10, -1, 0, 0, 5 query segments instead of 6",
        "2, 5, 0, 6, 5, -1, 0, 0, 5 key segments instead of 10",
        "2, 5, 0, 6, 10, 3, 0, 0, 3 slopes instead of 4",
        "2, 5, 0, -1, -1, -1, -1, 0, softcap -1.0 is negative",
        "2, 5, 0, -1, -1, -1, 0, 1, 'dropout 1.0 must be in [0, 1)'"
    })
    void whatDoesNotFitIsNamed(
            int kvHeads,
            int capacity,
            int window,
            int queries,
            int keys,
            int slopes,
            float cap,
            float dropout,
            String sentence) {
        assertThatThrownBy(() -> of(kvHeads, capacity, window, queries, keys, slopes, cap, dropout))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("attention: " + sentence);
    }
}
