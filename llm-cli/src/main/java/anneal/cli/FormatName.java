package anneal.cli;

import anneal.quant.Fp4;
import anneal.quant.Nf4;
import anneal.quant.QuantFormat;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * A storage format as flags name it: nf4 and fp4 are those of QLoRA, blocks of 64 with double quantisation, unless flags say otherwise;
 * all others are {@link QuantFormat#of}.
 *
 * @param name what was given: "nf4", "Q4_K"
 * @param block numbers that share an absmax, or null
 * @param single true if absmax values stay floats, else null
 */
record FormatName(String name, Integer block, Boolean single) {
    /** Weights that are not quantised. */
    static final Pattern FLOATS = Pattern.compile("B?F(16|32)");

    /** What {@code --help} says of the names. */
    static final String NAMES = "nf4, fp4, int8; q4_0, q4_1, q5_0, q5_1, q8_0, q4_k, q5_k, q6_k; int4-g128, int8-row"
            + " and its like, 2 to 8 bits with a scale for so many numbers of a row or all of it, with zeros"
            + " int4-g128-asym";

    /** The format; {@code blockFlag} is what errors call the flag of the block size. */
    QuantFormat format(String blockFlag) {
        Matcher four = Pattern.compile("(nf4|fp4)(?:-b(\\d{1,6}))?(-dq)?").matcher(name.toLowerCase(Locale.ROOT));
        if (!four.matches()) {
            requireUnused(blockFlag);
            return QuantFormat.of(name);
        }
        if (block != null && four.group(2) != null) {
            throw new IllegalArgumentException(blockFlag + " " + block + ": " + name + " names a block size already");
        }
        if (single != null && four.group(3) != null) {
            throw new IllegalArgumentException(
                    "--no-double-quant: " + name + " asks for double quantisation; give one or the other");
        }
        int size = block != null ? block : four.group(2) != null ? Integer.parseInt(four.group(2)) : Nf4.USUAL_BLOCK;
        return four.group(1).equals("nf4") ? new Nf4(size, single == null) : new Fp4(size, single == null);
    }

    /**
     * The flags that hold a base in a format as weights call it: "--quantize nf4-b128" for NF4-B128-DQ; empty if no flag makes it.
     *
     * @param stored names of the formats of its layers, as "F32, NF4-DQ"; floats are what was left as it was
     */
    static Optional<String> flags(String stored) {
        List<String> names = Stream.of(stored.split(", "))
                .filter(name -> !FLOATS.matcher(name).matches())
                .toList();
        if (names.size() != 1) {
            return Optional.empty();
        }
        String name = names.getFirst().toLowerCase(Locale.ROOT);
        try {
            QuantFormat.of(name);
        } catch (IllegalArgumentException e) { // a format that is only read
            return Optional.empty();
        }
        boolean single = name.matches("(nf4|fp4)(-b\\d+)?");
        return Optional.of(
                "--quantize " + name.replaceFirst("^(nf4|fp4)(.*)-dq$", "$1$2") + (single ? " --no-double-quant" : ""));
    }

    private void requireUnused(String blockFlag) {
        if (block != null || single != null) {
            throw new IllegalArgumentException((block != null ? blockFlag + " " + block : "--no-double-quant")
                    + " is for nf4 and fp4, not for " + name + ", whose blocks and scales are fixed by its name");
        }
    }
}
