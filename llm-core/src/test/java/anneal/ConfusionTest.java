package anneal;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import org.junit.jupiter.api.Test;

class ConfusionTest {
    /** Ten texts: 4 of "good", of which 3 are found; 5 of "bad", 4 found; 1 of "so-so", taken for "bad"; nothing said to be so-so. */
    private final Confusion c =
            new Confusion(List.of("good", "bad", "so-so"), new long[][] {{3, 1, 0}, {1, 4, 0}, {0, 1, 0}});

    @Test
    void numbersByHand() {
        assertThat(c.count()).isEqualTo(10);
        assertThat(c.accuracy()).isEqualTo(0.7);
        assertThat(c.precision(0)).isEqualTo(3 / 4.0);
        assertThat(c.recall(0)).isEqualTo(3 / 4.0);
        assertThat(c.precision(1)).isEqualTo(4 / 6.0);
        assertThat(c.recall(1)).isEqualTo(4 / 5.0);
        assertThat(c.f1(1)).isCloseTo(2 * (4 / 6.0) * (4 / 5.0) / (4 / 6.0 + 4 / 5.0), within(1e-12));
        assertThat(c.precision(2)).as("nothing of nothing").isZero();
        assertThat(c.f1(2)).isZero();
        assertThat(c.macroF1()).isCloseTo((0.75 + 8 / 11.0 + 0) / 3, within(1e-12));
    }

    @Test
    void printsATable() {
        assertThat(c.toString().lines())
                .containsExactly(
                        "accuracy 0.7000, macro F1 0.4924, 10 texts",
                        "true          good      bad    so-so precision    recall        F1",
                        "good             3        1        0     0.750     0.750     0.750",
                        "bad              1        4        0     0.667     0.800     0.727",
                        "so-so            0        1        0     0.000     0.000     0.000");
    }

    @Test
    void refusesCountsThatAreNoSquare() {
        assertThatThrownBy(() -> new Confusion(List.of("a", "b"), new long[][] {{1, 2}}))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("Confusion: 2 labels need counts [2, 2]");
    }
}
