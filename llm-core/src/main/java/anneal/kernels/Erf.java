package anneal.kernels;

/**
 * The error function in double precision, which Java's library lacks.
 *
 * <p>For |x| &lt; 2 the Maclaurin series of erf, beyond it the continued fraction of erfc evaluated from its tail
 * (Abramowitz and Stegun 7.1.5 and 7.1.14); both to about 1e-15.
 */
public final class Erf {
    private Erf() {}

    /** 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x. */
    public static double erf(double x) {
        return Math.abs(x) < 2 ? series(x) : x > 0 ? 1 - fraction(x) : fraction(-x) - 1;
    }

    /** 1 - erf(x), without cancellation for large x. */
    public static double erfc(double x) {
        return Math.abs(x) < 2 ? 1 - series(x) : x > 0 ? fraction(x) : 2 - fraction(-x);
    }

    /** erf by sum of (-1)^k x^(2k+1) / (k! (2k+1)). */
    private static double series(double x) {
        double power = x, sum = x;
        for (int k = 1; Math.abs(power) > 1e-18 * Math.abs(sum) && k < 200; k++) {
            power *= -x * x / k;
            sum += power / (2 * k + 1);
        }
        return 2 / Math.sqrt(Math.PI) * sum;
    }

    /** erfc = exp(-x^2) / sqrt(pi) / (x + (1/2) / (x + 1 / (x + (3/2) / (x + ...)))). */
    private static double fraction(double x) {
        if (x > 27) {
            return 0;
        }
        double tail = 0;
        for (int k = 120; k >= 1; k--) {
            tail = k / 2.0 / (x + tail);
        }
        return Math.exp(-x * x) / Math.sqrt(Math.PI) / (x + tail);
    }
}
