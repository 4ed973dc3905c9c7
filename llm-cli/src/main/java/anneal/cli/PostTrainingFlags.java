package anneal.cli;

import anneal.kernels.BlockFormat;
import anneal.quant.GgufBlocks;
import anneal.quant.Int8;
import anneal.quant.QuantFormat;
import anneal.quant.post.Awq;
import anneal.quant.post.Gptq;
import anneal.quant.post.Grid;
import anneal.quant.post.LayerDistillation;
import anneal.quant.post.PostTraining;
import anneal.quant.post.SmoothQuant;
import anneal.quant.post.ZeroQuant;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import picocli.CommandLine.Option;

/** {@code --method} and what single methods have beside; null = not given. */
final class PostTrainingFlags {
    enum Name {
        rtn,
        gptq,
        awq,
        smoothquant,
        zeroquant
    }

    @Option(
            names = "--method",
            paramLabel = "NAME",
            description = "${COMPLETION-CANDIDATES} (default: ${DEFAULT-VALUE}). All but rtn read --data.")
    Name method = Name.rtn;

    @Option(names = "--damping", paramLabel = "X", description = "gptq: part of the mean diagonal (default: 0.01).")
    Double damping;

    @Option(names = "--act-order", arity = "0", description = "gptq: columns with large inputs first.")
    Boolean actOrder;

    @Option(names = "--no-clip", arity = "0", description = "awq: no search of ranges, only of scales.")
    Boolean noClip;

    @Option(
            names = "--alpha",
            paramLabel = "X",
            description = "smoothquant: how much of the difficulty goes to the weights (default: 0.5).")
    Double alpha;

    @Option(names = "--search-alpha", arity = "0", description = "smoothquant: an alpha for each input of layers.")
    Boolean searchAlpha;

    @Option(
            names = "--lkd-passes",
            paramLabel = "N",
            description =
                    "zeroquant: layer-by-layer distillation, passes over the text for each block (default: none).")
    Integer lkdPasses;

    @Option(names = "--lkd-rate", paramLabel = "X", description = "zeroquant: its learning rate (default: 1.0E-4).")
    Double lkdRate;

    /** Refuses options of another method, and formats that no file could hold this method's numbers in. */
    void check(QuantFormat format) {
        Map<String, Object> given = new LinkedHashMap<>();
        Map<String, Name> owners = new LinkedHashMap<>();
        option("--damping", damping, Name.gptq, given, owners);
        option("--act-order", actOrder, Name.gptq, given, owners);
        option("--no-clip", noClip, Name.awq, given, owners);
        option("--alpha", alpha, Name.smoothquant, given, owners);
        option("--search-alpha", searchAlpha, Name.smoothquant, given, owners);
        option("--lkd-passes", lkdPasses, Name.zeroquant, given, owners);
        option("--lkd-rate", lkdRate, Name.zeroquant, given, owners);
        given.values().removeIf(Objects::isNull);
        given.keySet().forEach(flag -> {
            if (owners.get(flag) != method) {
                throw new IllegalArgumentException(
                        flag + " is for --method " + owners.get(flag) + ", not for " + method);
            }
        });
        if (alpha != null && searchAlpha != null) {
            throw new IllegalArgumentException("--alpha " + alpha + " and --search-alpha: give one or the other");
        }
        if (lkdRate != null && lkdPasses == null) {
            throw new IllegalArgumentException("--lkd-rate needs --lkd-passes");
        }
        if (!fits(format)) {
            throw new IllegalArgumentException(
                    "--method " + method + " with --format " + format.name() + ": " + possible());
        }
    }

    private static void option(
            String flag, Object value, Name owner, Map<String, Object> given, Map<String, Name> owners) {
        given.put(flag, value);
        owners.put(flag, owner);
    }

    private boolean fits(QuantFormat format) {
        return switch (method) {
            case rtn -> true;
            case gptq, awq -> plain(format);
            case smoothquant -> format instanceof Int8;
            case zeroquant -> plain(format) && grid(format).symmetric();
        };
    }

    private static boolean plain(QuantFormat format) {
        return format instanceof GgufBlocks g
                && g.format() != BlockFormat.Q4_K
                && g.format() != BlockFormat.Q5_K
                && g.format() != BlockFormat.Q6_K;
    }

    private String possible() {
        return switch (method) {
            case rtn -> "";
            case gptq, awq ->
                "its codes stand on a grid with one scale for 32 weights, which q4_0, q4_1, q5_0, q5_1 and q8_0 can hold;"
                        + " this format has another one and would round them a second time (use --method rtn)";
            case smoothquant ->
                "it prepares inputs and weights for products of 8-bit integers, and of the formats with files only int8"
                        + " multiplies so (for weights alone use --method awq)";
            case zeroquant ->
                "its codes are symmetric with one scale for 32 weights, which q4_0, q5_0 and q8_0 can hold (use --method"
                        + " rtn for this format)";
        };
    }

    private static Grid grid(QuantFormat format) {
        return Grid.of(((GgufBlocks) format).format());
    }

    /** The method whose codes the format holds; not for rtn and smoothquant, which end with a rounding of {@code format} itself. */
    PostTraining onGrid(QuantFormat format) {
        Grid grid = grid(format);
        return switch (method) {
            case gptq -> new Gptq(grid, damping == null ? 0.01 : damping, actOrder != null, 128);
            case awq -> new Awq(grid, 20, noClip == null, true);
            case zeroquant -> new ZeroQuant(grid.bits(), grid.bits(), grid.group(), distillation());
            case rtn, smoothquant -> throw new AssertionError(method + " has no grid of its own");
        };
    }

    private LayerDistillation distillation() {
        return lkdPasses == null ? null : new LayerDistillation(lkdPasses, lkdRate == null ? 1e-4 : lkdRate);
    }

    /** SmoothQuant with these options, for {@code int8}: a scale for each token. */
    SmoothQuant smoothing() {
        SmoothQuant.Builder b = SmoothQuant.o1().alpha(alpha == null ? 0.5 : alpha);
        return (searchAlpha == null ? b : b.search()).build();
    }
}
