package anneal.quant;

import anneal.io.Json;
import anneal.kernels.Matrix;
import java.lang.foreign.Arena;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A way to store a matrix in fewer bits. Each rounds to nearest; what shares a scale, and how it is packed, is the format's. */
public sealed interface QuantFormat permits Nf4, Fp4, Int8, GgufBlocks, GroupInt {
    /** What {@link #of} knows, one of each kind. */
    List<String> NAMES = List.of(
            "nf4",
            "nf4-dq",
            "fp4",
            "fp4-dq",
            "int8",
            "q4_0",
            "q4_1",
            "q5_0",
            "q5_1",
            "q8_0",
            "q4_k",
            "q5_k",
            "q6_k",
            "int4-g128",
            "int4-g128-asym",
            "int4-row");

    /** "NF4", "Q4_K", "INT4-G128": how the format is called in reports and by {@link #of}. */
    String name();

    /**
     * Throws if rows of so many numbers cannot be stored.
     *
     * @throws IllegalArgumentException saying which block or group does not divide them
     */
    default void requireFits(int cols) {}

    /**
     * The numbers of a matrix in this format.
     *
     * @param arena where they live
     * @throws IllegalArgumentException if a number is not finite or rows cannot be stored
     */
    QuantizedWeight quantize(Matrix w, Arena arena);

    /**
     * The format of a name, in any case: nf4, fp4 and int8; with another block size nf4-b128; with double quantisation nf4-dq; GGUF's
     * q4_0, q4_1, q5_0, q5_1, q8_0, q4_k, q5_k, q6_k; groups int4-g128, int4-row and, with zeros, int4-g128-asym.
     */
    static QuantFormat of(String name) {
        String lower = name.toLowerCase(Locale.ROOT);
        Matcher four = Pattern.compile("(nf4|fp4)(?:-b(\\d{1,6}))?(-dq)?").matcher(lower);
        if (four.matches()) {
            int block = four.group(2) == null ? Nf4.USUAL_BLOCK : Integer.parseInt(four.group(2));
            boolean nested = four.group(3) != null;
            return four.group(1).equals("nf4") ? new Nf4(block, nested) : new Fp4(block, nested);
        }
        Matcher group =
                Pattern.compile("int([2-8])-(?:row|g([1-9]\\d{0,5}))(-asym)?").matcher(lower);
        if (group.matches()) {
            int size = group.group(2) == null ? GroupInt.ROW : Integer.parseInt(group.group(2));
            return new GroupInt(Integer.parseInt(group.group(1)), size, group.group(3) == null);
        }
        if (lower.equals("int8")) {
            return new Int8();
        }
        return GgufBlocks.of(lower)
                .orElseThrow(() -> new IllegalArgumentException("\"" + name
                        + "\" is no format; there are nf4, fp4 (also nf4-b128, nf4-dq), int8, q4_0, q4_1, q5_0, q5_1, q8_0,"
                        + " q4_k, q5_k, q6_k, int4-g128, int4-g128-asym"
                        + Json.nearest(lower, NAMES)
                                .map(near -> "; the nearest is " + near)
                                .orElseThrow()));
    }
}
