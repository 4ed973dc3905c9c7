package anneal.text.jinja;

import java.math.BigDecimal;
import java.math.BigInteger;

/** Python's numbers: int is a {@link Long}, or a {@link BigInteger} when it does not fit; float is a {@link Double}. */
final class Num {
    /** Longest int that may be made: what Python itself refuses to print beyond. */
    static final int MAX_DIGITS = 4300;

    private static final int MAX_BITS = 14_284;

    private Num() {}

    static boolean isInt(Object o) {
        return o instanceof Long || o instanceof BigInteger;
    }

    /** Ints, floats and, as in Python, bools. */
    static boolean isNumber(Object o) {
        return isInt(o) || o instanceof Double || o instanceof Boolean;
    }

    static Object integer(BigInteger value) {
        if (value.bitLength() < 64) {
            return value.longValue();
        }
        if (value.bitLength() > MAX_BITS) {
            throw TemplateError.of("an int of " + value.bitLength() + " bits is too large");
        }
        return value;
    }

    static BigInteger big(Object o) {
        return switch (o) {
            case Long n -> BigInteger.valueOf(n);
            case BigInteger n -> n;
            case Boolean b -> b ? BigInteger.ONE : BigInteger.ZERO;
            default ->
                throw TemplateError.of("'" + Values.typeName(o) + "' object cannot be interpreted as an integer");
        };
    }

    /** An int that is an index, a width or a count. */
    static long index(Object o) {
        BigInteger n = big(o);
        return n.bitLength() < 63 ? n.longValue() : n.signum() < 0 ? Long.MIN_VALUE / 2 : Long.MAX_VALUE / 2;
    }

    static double real(Object o) {
        return o instanceof Double d ? d : big(o).doubleValue();
    }

    static int compare(Object a, Object b) {
        if (a instanceof Double || b instanceof Double) {
            double x = real(a);
            double y = real(b);
            if (Double.isInfinite(x) || Double.isInfinite(y) || Double.isNaN(x) || Double.isNaN(y)) {
                return Double.compare(x, y);
            }
            return exact(a).compareTo(exact(b));
        }
        return big(a).compareTo(big(b));
    }

    private static BigDecimal exact(Object o) {
        return o instanceof Double d ? new BigDecimal(d) : new BigDecimal(big(o));
    }

    static boolean isNan(Object o) {
        return o instanceof Double d && d.isNaN();
    }

    static Object binary(String operator, Object a, Object b) {
        boolean real = a instanceof Double || b instanceof Double;
        return switch (operator) {
            case "+" -> real ? (Object) (real(a) + real(b)) : integer(big(a).add(big(b)));
            case "-" -> real ? (Object) (real(a) - real(b)) : integer(big(a).subtract(big(b)));
            case "*" -> real ? (Object) (real(a) * real(b)) : integer(big(a).multiply(big(b)));
            case "/" -> divide(real(a), real(b), real ? "float division by zero" : "division by zero");
            case "//" -> real ? realFloor(real(a), real(b)) : intFloor(big(a), big(b));
            case "%" -> real ? (Object) realModulo(real(a), real(b)) : intModulo(big(a), big(b));
            case "**" -> power(a, b);
            default -> throw new AssertionError(operator);
        };
    }

    private static Object divide(double a, double b, String message) {
        if (b == 0) {
            throw TemplateError.of(message);
        }
        return a / b;
    }

    private static Object realFloor(double a, double b) {
        if (b == 0) {
            throw TemplateError.of("float floor division by zero");
        }
        return Math.floor((a - realModulo(a, b)) / b + 0.5);
    }

    private static double realModulo(double a, double b) {
        if (b == 0) {
            throw TemplateError.of("float modulo");
        }
        double m = a % b;
        return m != 0 && (m < 0) != (b < 0) ? m + b : m == 0 ? Math.copySign(0.0, b) : m;
    }

    private static Object intFloor(BigInteger a, BigInteger b) {
        if (b.signum() == 0) {
            throw TemplateError.of("integer division or modulo by zero");
        }
        BigInteger[] qr = a.divideAndRemainder(b);
        boolean down = qr[1].signum() != 0 && qr[1].signum() != b.signum();
        return integer(down ? qr[0].subtract(BigInteger.ONE) : qr[0]);
    }

    private static Object intModulo(BigInteger a, BigInteger b) {
        if (b.signum() == 0) {
            throw TemplateError.of("integer modulo by zero");
        }
        BigInteger m = a.mod(b.abs());
        return integer(b.signum() < 0 && m.signum() != 0 ? m.add(b) : m);
    }

    private static Object power(Object a, Object b) {
        if (a instanceof Double || b instanceof Double || big(b).signum() < 0) {
            double base = real(a);
            double exponent = real(b);
            if (base == 0 && exponent < 0) {
                throw TemplateError.of("0.0 cannot be raised to a negative power");
            }
            return Math.pow(base, exponent);
        }
        BigInteger base = big(a);
        BigInteger exponent = big(b);
        if (base.abs().bitLength() <= 1) {
            return integer(
                    base.signum() >= 0 || !exponent.testBit(0) ? base.abs().pow(exponent.signum()) : base);
        }
        if (exponent.bitLength() > 31 || (long) (base.bitLength() - 1) * exponent.intValue() > MAX_BITS) {
            throw TemplateError.of("power is too large");
        }
        return integer(base.pow(exponent.intValue()));
    }

    static Object negate(Object o) {
        return o instanceof Double d ? (Object) (-d) : integer(big(o).negate());
    }

    /** Python's repr of a float: shortest digits that read back, exponent below 1e-4 and from 1e16. */
    static String repr(double d) {
        if (Double.isNaN(d) || Double.isInfinite(d)) {
            return Double.isNaN(d) ? "nan" : d > 0 ? "inf" : "-inf";
        }
        if (d == 0) {
            return 1 / d < 0 ? "-0.0" : "0.0";
        }
        BigDecimal shortest = new BigDecimal(Double.toString(d)).stripTrailingZeros();
        int exponent = shortest.precision() - shortest.scale() - 1;
        if (exponent >= -4 && exponent < 16) {
            String plain = shortest.toPlainString();
            return plain.indexOf('.') < 0 ? plain + ".0" : plain;
        }
        String digits = shortest.unscaledValue().abs().toString();
        return (d < 0 ? "-" : "") + digits.charAt(0) + (digits.length() > 1 ? "." + digits.substring(1) : "") + "e"
                + (exponent < 0 ? "-" : "+") + (Math.abs(exponent) < 10 ? "0" : "") + Math.abs(exponent);
    }
}
