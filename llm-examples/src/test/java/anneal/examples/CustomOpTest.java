package anneal.examples;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class CustomOpTest {
    @Test
    void theNetworkLearnsThroughTheOp() {
        double[] errors = CustomOp.fit(500, 0.05f, 1);
        assertThat(errors[0]).isGreaterThan(0.2);
        assertThat(errors[errors.length - 1]).isLessThan(0.01);
    }

    @Test
    void theProgramRuns() {
        CustomOp.main(new String[0]);
    }
}
