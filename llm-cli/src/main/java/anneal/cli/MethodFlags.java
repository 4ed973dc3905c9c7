package anneal.cli;

import static anneal.cli.MethodName.adalora;
import static anneal.cli.MethodName.last_layers;
import static anneal.cli.MethodName.lisa;
import static anneal.cli.MethodName.loha;
import static anneal.cli.MethodName.lokr;
import static anneal.cli.MethodName.lora;
import static anneal.cli.MethodName.osf;
import static anneal.cli.MethodName.vera;

import anneal.peft.AdaLora;
import anneal.peft.BitFit;
import anneal.peft.Ia3;
import anneal.peft.LastLayers;
import anneal.peft.Lisa;
import anneal.peft.LnTuning;
import anneal.peft.LoHa;
import anneal.peft.LoKr;
import anneal.peft.Lora;
import anneal.peft.Method;
import anneal.peft.MethodBuilder;
import anneal.peft.Osf;
import anneal.peft.Vera;
import java.util.List;
import java.util.function.Function;
import picocli.CommandLine.Option;

/** An adapter by its method's name; null = not given. */
final class MethodFlags {
    /** What (IA)3 scales in its paper, keys, values and feed-forward, by the names that families have for it. */
    private static final String IA3_FEED_FORWARD = ".*[.](down_proj|mlp[.]c_proj|dense_4h_to_h|fc2|fc_out)";

    private static final String IA3_TARGETS =
            IA3_FEED_FORWARD + "|.*[.](k_proj|v_proj|c_attn|query_key_value|qkv_proj|Wqkv)";

    private static final String ALL_LINEAR = "all-linear";

    @Option(
            names = "--adapter-method",
            paramLabel = "NAME",
            description = "${COMPLETION-CANDIDATES} (default: ${DEFAULT-VALUE}).")
    MethodName method = lora;

    @Option(
            names = "--rank",
            paramLabel = "R",
            description = "Of lora and adalora (default: 16), loha and lokr (8), vera (256).")
    Integer rank;

    @Option(
            names = "--alpha",
            paramLabel = "X",
            description =
                    "Scale is alpha / rank; of lora and adalora (default: twice the rank), loha and lokr (the rank).")
    Double alpha;

    @Option(
            names = "--dropout",
            paramLabel = "P",
            description = "Of lora and adalora (default: 0.05) and vera (default: 0).")
    Double dropout;

    @Option(
            names = "--target",
            paramLabel = "T",
            description =
                    "all-linear, names with commas, or a regular expression (default: all-linear; what the paper has for"
                            + " ia3; everything for ln_tuning and bitfit).")
    String target;

    @Option(
            names = "--blocks",
            paramLabel = "N",
            description = "Of last_layers and lisa: so many are trained (default: 1), of lisa at a time.")
    Integer blocks;

    @Option(
            names = "--every",
            paramLabel = "N",
            description = "Of lisa: steps after which other blocks are drawn (default: 20).")
    Integer every;

    @Option(
            names = "--keep",
            paramLabel = "P",
            description = "Of osf: the part of each matrix' directions that stays as it is (default: 0.5).")
    Double keep;

    /** Throws if a flag was given that the method does not have. */
    void check() {
        only("--rank", rank, List.of(lora, adalora, loha, lokr, vera));
        only("--alpha", alpha, List.of(lora, adalora, loha, lokr));
        only("--dropout", dropout, List.of(lora, adalora, vera));
        only("--blocks", blocks, List.of(last_layers, lisa));
        only("--every", every, List.of(lisa));
        only("--keep", keep, List.of(osf));
        if (method == last_layers || method == lisa) {
            only("--target", target, List.of());
        }
    }

    private void only(String flag, Object value, List<MethodName> methods) {
        if (value != null && !methods.contains(method)) {
            throw new IllegalArgumentException(flag + " does not go with --adapter-method " + method);
        }
    }

    /** The method with its options; {@code base} is the model's name for the readers of the file. */
    Method method(String base) {
        int r = rank == null ? method.rank : rank;
        return switch (method) {
            case lora -> {
                Lora.Builder b = Lora.rank(r).alpha(or(alpha, 2.0 * r)).dropout(or(dropout, 0.05));
                yield on(b::on, b::onMatching, ALL_LINEAR).baseModel(base).build();
            }
            case adalora -> {
                AdaLora.Builder b = AdaLora.rank(r).alpha(or(alpha, 2.0 * r)).dropout(or(dropout, 0.05));
                yield on(b::on, b::onMatching, ALL_LINEAR).baseModel(base).build();
            }
            case ia3 -> {
                Ia3.Builder b = Ia3.at();
                b = target == null ? b.onMatching(IA3_TARGETS) : on(b, target);
                yield b.feedForwardMatching(IA3_FEED_FORWARD).baseModel(base).build();
            }
            case loha ->
                on(LoHa.rank(r).alpha(or(alpha, r)), ALL_LINEAR).baseModel(base).build();
            case lokr ->
                on(LoKr.rank(r).alpha(or(alpha, r)), ALL_LINEAR).baseModel(base).build();
            case vera ->
                on(Vera.rank(r).dropout(or(dropout, 0)), ALL_LINEAR)
                        .baseModel(base)
                        .build();
            case ln_tuning ->
                target == null
                        ? new LnTuning(null, List.of(), base)
                        : on(LnTuning.at(), target).baseModel(base).build();
            case bitfit ->
                target == null
                        ? new BitFit(null, base)
                        : on(BitFit.at(), target).baseModel(base).build();
            case last_layers -> new LastLayers(blocks == null ? 1 : blocks, false, base);
            case lisa -> new Lisa(blocks == null ? 1 : blocks, every == null ? 20 : every, base);
            case osf -> on(Osf.part(or(keep, 0.5)), ALL_LINEAR).baseModel(base).build();
        };
    }

    private static double or(Double value, double otherwise) {
        return value == null ? otherwise : value;
    }

    private <B extends MethodBuilder<B>> B on(B builder, String otherwise) {
        return on(builder::on, builder::onMatching, otherwise);
    }

    private <B> B on(Function<String[], B> names, Function<String, B> pattern, String otherwise) {
        String where = target == null ? otherwise : target;
        return where.matches("[A-Za-z0-9_,.-]+") ? names.apply(where.split(",")) : pattern.apply(where);
    }
}
