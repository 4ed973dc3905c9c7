package anneal.cli;

import anneal.kernels.BlockFormat;
import anneal.nn.LayerWatch;
import anneal.nn.Module;
import anneal.quant.GgufBlocks;
import anneal.quant.GroupInt;
import anneal.quant.Int8;
import anneal.quant.QuantFormat;
import anneal.quant.calibrate.Calibration;
import anneal.quant.post.Awq;
import anneal.quant.post.BitWidths;
import anneal.quant.post.Gptq;
import anneal.quant.post.Grid;
import anneal.quant.post.LayerDistillation;
import anneal.quant.post.PostTraining;
import anneal.quant.post.SmoothQuant;
import anneal.quant.post.ZeroQuant;
import java.lang.foreign.Arena;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
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

    enum Level {
        o1,
        o2,
        o3
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
            description = "smoothquant: how much of the difficulty goes to the weights, 0 to 1 (default: 0.5).")
    Double alpha;

    @Option(names = "--search-alpha", arity = "0", description = "smoothquant: an alpha for each input of layers.")
    Boolean searchAlpha;

    @Option(
            names = "--level",
            paramLabel = "NAME",
            description =
                    "smoothquant with int8: what shares a scale of the inputs. o1: each token, o2: all tokens of a call, o3: all,"
                            + " from --data; from the most accurate to the cheapest. Written as compressed-tensors' folder"
                            + " (default: none: bitsandbytes' int8, each token, large columns in floats).")
    Level level;

    @Option(
            names = "--four-bit",
            split = ",",
            paramLabel = "LIST",
            description = "zeroquant: layers that have 4 bits and not those of --format, as regular expressions:"
                    + " mlp,layers.0.")
    List<String> fourBit;

    @Option(
            names = "--four-bit-share",
            paramLabel = "X",
            description = "zeroquant: 4 bits for the layers that suffer least, up to this share of the weights.")
    Double fourBitShare;

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
        option("--level", level, Name.smoothquant, given, owners);
        option("--four-bit", fourBit, Name.zeroquant, given, owners);
        option("--four-bit-share", fourBitShare, Name.zeroquant, given, owners);
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
        if (fourBit != null && fourBitShare != null) {
            throw new IllegalArgumentException("--four-bit and --four-bit-share: give one or the other");
        }
        if ((fourBit != null || fourBitShare != null) && format instanceof GroupInt) {
            throw new IllegalArgumentException((fourBit != null ? "--four-bit" : "--four-bit-share") + " with --format "
                    + format.name() + ": the folder tells of one width for all layers; a GGUF file (q8_0) holds two");
        }
        if (level != null && !(format instanceof Int8)) {
            throw new IllegalArgumentException(
                    "--level " + level + " is for --format int8, whose products are of integers;" + " with "
                            + format.name() + " inputs stay as they are");
        }
        if (noClip != null && grid(format).isEmpty()) {
            throw new IllegalArgumentException(
                    "--no-clip: with " + format.name()
                            + " no ranges are searched: only q4_0, q4_1, q5_0, q5_1 and q8_0 leave them free, and int4-g128 and its like");
        }
        if (!fits(format)) {
            throw new IllegalArgumentException(
                    "--method " + method + " with --format " + format.name() + ": " + possible());
        }
        if (method == Name.smoothquant) {
            smoothing(); // methods check their numbers when they are made: now, before minutes are spent on a model
        } else if (method != Name.rtn && !onlyScales(format)) {
            onGrid(format);
        }
    }

    private static void option(
            String flag, Object value, Name owner, Map<String, Object> given, Map<String, Name> owners) {
        given.put(flag, value);
        owners.put(flag, owner);
    }

    private boolean fits(QuantFormat format) {
        return switch (method) {
            case rtn, awq, smoothquant -> true;
            case gptq -> grid(format).isPresent();
            case zeroquant -> grid(format).filter(Grid::symmetric).isPresent();
        };
    }

    private String possible() {
        return switch (method) {
            case rtn, awq, smoothquant -> "";
            case gptq ->
                "its codes stand on a grid with one scale for a group of weights, which q4_0, q4_1, q5_0, q5_1 and q8_0 can"
                        + " hold, and int4-g128 and its like; this format has another one and would round them a second"
                        + " time (--method awq goes with every format)";
            case zeroquant ->
                "its codes are symmetric with one scale for a group of weights, which q4_0, q5_0 and q8_0 can hold, and"
                        + " int8-g128 and its like (use --method rtn for this format)";
        };
    }

    /** The grid that the codes of a format stand on; empty if its scales are codes, or its numbers from a table. */
    private static Optional<Grid> grid(QuantFormat format) {
        return switch (format) {
            case GroupInt g -> Optional.of(new Grid(g.bits(), g.group(), g.symmetric()));
            case GgufBlocks g
            when g.format() != BlockFormat.Q4_K && g.format() != BlockFormat.Q5_K && g.format() != BlockFormat.Q6_K ->
                Optional.of(Grid.of(g.format()));
            default -> Optional.empty();
        };
    }

    /** True if the method ends with a rounding of the format itself, after scales were moved. */
    boolean onlyScales(QuantFormat format) {
        return method == Name.smoothquant && level == null
                || method == Name.awq && grid(format).isEmpty();
    }

    /** Moves scales out of activations in floats; returns what was chosen for each layer. */
    Map<String, String> scale(QuantFormat format, Module root, Runnable forward, LayerWatch watch) {
        if (method == Name.awq) {
            return Awq.fold(root, w -> format.quantize(w, Arena.ofAuto()).matrix(), forward, watch);
        }
        Calibration seen = Calibration.capture(root, path -> true, Calibration.Options.SAMPLES, forward);
        return smoothing().smooth(root, seen);
    }

    /** The method whose codes the format holds. */
    PostTraining onGrid(QuantFormat format) {
        return switch (method) {
            case gptq -> new Gptq(grid(format).orElseThrow(), damping == null ? 0.01 : damping, actOrder != null, 128);
            case awq -> new Awq(grid(format).orElseThrow(), 20, noClip == null, true);
            case zeroquant -> {
                Grid grid = grid(format).orElseThrow();
                yield new ZeroQuant(widths(grid.bits()), grid.group(), distillation());
            }
            case smoothquant -> smoothing();
            case rtn -> throw new AssertionError(method + " has no grid of its own");
        };
    }

    private BitWidths widths(int bits) {
        if (fourBit != null) {
            return new BitWidths.Matching(bits, 4, fourBit);
        }
        return new BitWidths.LeastSensitive(bits, Math.min(4, bits), fourBitShare == null ? 0 : fourBitShare);
    }

    private LayerDistillation distillation() {
        return lkdPasses == null ? null : new LayerDistillation(lkdPasses, lkdRate == null ? 1e-4 : lkdRate);
    }

    private SmoothQuant smoothing() {
        SmoothQuant.Builder b =
                level == Level.o3 ? SmoothQuant.o3() : level == Level.o2 ? SmoothQuant.o2() : SmoothQuant.o1();
        b.alpha(alpha == null ? 0.5 : alpha);
        return (searchAlpha == null ? b : b.search()).build();
    }
}
