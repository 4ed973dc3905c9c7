package anneal.cli;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.train.StepReport;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** The text of the progress bar. */
class ProgressTest {
    private static final String NUMBERS =
            Progress.numbers(new StepReport(12345, 100000, 0, 1.23456, 2e-4, 0.567, 1234.4, 8, Map.of()), 4000);

    private static String bar(int columns) {
        return Progress.bar("pretraining", 12345, 100000, NUMBERS, columns);
    }

    @Test
    void lossSpeedAndTimeLeftComeFirst() {
        assertThat(NUMBERS).isEqualTo("loss 1.235  1234 tok/s  eta 1:06:40  lr 2.00e-04  grad 0.57");
    }

    @Test
    void eightyColumnsHoldThem() {
        assertThat(bar(80))
                .isEqualTo("pretraining 12345/100000 loss 1.235  1234 tok/s  eta 1:06:40  lr 2.00e-04  grad ")
                .hasSize(80);
        assertThat(bar(60)).hasSize(60).contains("loss 1.235  1234 tok/s");
    }

    @Test
    void aBarStandsWhereThereIsRoom() {
        assertThat(bar(200)).isEqualTo("pretraining 12345/100000 [===" + " ".repeat(27) + "] " + NUMBERS);
        assertThat(Progress.bar("training", 3, 6, "loss 1.0", 32)).isEqualTo("training 3/6 [====    ] loss 1.0");
        assertThat(Progress.bar("training", 0, Progress.UNKNOWN, "", 32))
                .as("nobody knows yet of how many")
                .startsWith("training [ ");
    }

    /** Reports may be seldom, and a run may go on from another one: only steps of this run took this run's time. */
    @Test
    void theTimeLeftCountsTheStepsThatWereNotTold() {
        try (Progress fresh = new Progress(new PrintWriter(new StringWriter()), "training", 100, 0);
                Progress resumed = new Progress(new PrintWriter(new StringWriter()), "training", 100, 60)) {
            assertThat(fresh.left(40, report(20))).isEqualTo(160);
            assertThat(resumed.left(40, report(80))).isEqualTo(40);
            assertThat(resumed.left(80, report(100))).isZero();
        }
    }

    private static StepReport report(long step) {
        return new StepReport(step, 100, 0, 1, 1e-4, 1, 10, 8, Map.of());
    }
}
