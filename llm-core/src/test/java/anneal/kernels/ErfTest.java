package anneal.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ErfTest {
    /** Values by mpmath with 30 digits. */
    @ParameterizedTest
    @CsvSource({
        "0.001, 0.0011283787909692363799, 0.99887162120903076362",
        "0.25,  0.27632639016823693299,   0.72367360983176306701",
        "0.75,  0.7111556336535151316,    0.2888443663464848684",
        "1.25,  0.92290012825645823014,   0.077099871743541769863",
        "1.9,   0.99279042923525746995,   0.0072095707647425300516",
        "2.0,   0.99532226501895273416,   0.0046777349810472658379",
        "2.1,   0.9970205333436670145,    0.0029794666563329855039",
        "3.0,   0.99997790950300141456,   0.000022090496998585441373",
        "5.0,   0.99999999999846254021,   1.5374597944280348502e-12",
        "10.0,  1.0,                      2.088487583762544757e-45",
        "20.0,  1.0,                      5.3958656116079009289e-176"
    })
    void agreesWithKnownValues(double x, double erf, double erfc) {
        assertThat(Erf.erf(x)).isCloseTo(erf, within(1e-14));
        assertThat(Erf.erf(-x)).isCloseTo(-erf, within(1e-14));
        assertThat(Erf.erfc(x)).isCloseTo(erfc, within(1e-14));
        assertThat(Erf.erfc(-x)).isCloseTo(2 - erfc, within(1e-14));
        if (x >= 2) {
            assertThat(Erf.erfc(x) / erfc).as("relative").isCloseTo(1, within(1e-12));
        }
    }

    @Test
    void holdsAtTheEnds() {
        assertThat(Erf.erf(0)).isZero();
        assertThat(Erf.erf(Double.POSITIVE_INFINITY)).isEqualTo(1);
        assertThat(Erf.erf(Double.NEGATIVE_INFINITY)).isEqualTo(-1);
        assertThat(Erf.erfc(Double.POSITIVE_INFINITY)).isZero();
        assertThat(Erf.erf(Double.NaN)).isNaN();
    }

    @Test
    void risesSmoothlyWhereTheTwoFormulasMeet() {
        double before = Erf.erf(1.99);
        for (double x = 1.9901; x < 2.01; x += 1e-4) {
            double now = Erf.erf(x), slope = 2 / Math.sqrt(Math.PI) * Math.exp(-x * x);
            assertThat((now - before) / 1e-4).isCloseTo(slope, within(1e-2 * slope));
            before = now;
        }
    }
}
