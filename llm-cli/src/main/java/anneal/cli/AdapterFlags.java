package anneal.cli;

import static anneal.cli.AdapterName.adalora;
import static anneal.cli.AdapterName.bitfit;
import static anneal.cli.AdapterName.ia3;
import static anneal.cli.AdapterName.last_layers;
import static anneal.cli.AdapterName.lisa;
import static anneal.cli.AdapterName.ln_tuning;
import static anneal.cli.AdapterName.loha;
import static anneal.cli.AdapterName.lokr;
import static anneal.cli.AdapterName.lora;
import static anneal.cli.AdapterName.p_tuning;
import static anneal.cli.AdapterName.prefix_tuning;
import static anneal.cli.AdapterName.prompt_tuning;
import static anneal.cli.AdapterName.trainable_tokens;
import static anneal.cli.AdapterName.vera;

import anneal.peft.AdaLora;
import anneal.peft.BitFit;
import anneal.peft.Bottleneck;
import anneal.peft.Ia3;
import anneal.peft.LastLayers;
import anneal.peft.Lisa;
import anneal.peft.LnTuning;
import anneal.peft.LoHa;
import anneal.peft.LoKr;
import anneal.peft.Lora;
import anneal.peft.Method;
import anneal.peft.MethodBuilder;
import anneal.peft.PTuning;
import anneal.peft.PrefixTuning;
import anneal.peft.PromptTuning;
import anneal.peft.RankBudget;
import anneal.peft.TrainableTokens;
import anneal.peft.Vera;
import anneal.text.Tokenizer;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import picocli.CommandLine.Option;

/** An adapter by its method's name, and the method's options; null = not given. */
final class AdapterFlags {
    /** What (IA)3 scales in its paper, keys, values and feed-forward, by the names that families have for it. */
    private static final String IA3_FEED_FORWARD = ".*[.](down_proj|mlp[.]c_proj|dense_4h_to_h|fc2|fc_out)";

    private static final String IA3_TARGETS =
            IA3_FEED_FORWARD + "|.*[.](k_proj|v_proj|c_attn|query_key_value|qkv_proj|Wqkv)";

    private static final String FILE = "--adapter-config";

    private static final String ALL_LINEAR = "all-linear";

    private static final Set<AdapterName> AT_ALL_LINEAR = EnumSet.of(lora, adalora, loha, lokr, vera),
            VIRTUAL = EnumSet.of(prefix_tuning, prompt_tuning, p_tuning);

    @Option(
            names = "--adapter",
            paramLabel = "NAME",
            description = "${COMPLETION-CANDIDATES} (default: lora). adalora moves rank to the modules that need it.")
    AdapterName method;

    @Option(
            names = FILE,
            paramLabel = "FILE",
            description =
                    "PEFT's adapter_config.json: a method with all its options, in place of --adapter and what follows.")
    Path config;

    @Option(
            names = "--rank",
            paramLabel = "R",
            description =
                    "Of lora and adalora (default: 16; of adalora what stays on average), loha and lokr (8), vera (256).")
    Integer rank;

    @Option(
            names = "--alpha",
            paramLabel = "X",
            description =
                    "Scale is alpha / rank; of lora (default: twice the rank), loha and lokr (the rank), and of adalora,"
                            + " whose rank is the one at the start (twice that).")
    Double alpha;

    @Option(
            names = "--dropout",
            paramLabel = "P",
            description = "Of lora and adalora (default: 0.05), vera and bottleneck (0).")
    Double dropout;

    @Option(
            names = "--target",
            paramLabel = "T",
            description =
                    "all-linear, names with commas, or a regular expression (default: all-linear; what the paper has for"
                            + " ia3; everything for ln_tuning and bitfit).")
    String target;

    @Option(names = "--rslora", arity = "0", description = "Of lora: scale is alpha / sqrt(rank).")
    Boolean rsLora;

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
            names = "--virtual-tokens",
            paramLabel = "N",
            description =
                    "Of prefix_tuning, prompt_tuning and p_tuning: so many stand in front of a text (default: 20).")
    Integer virtualTokens;

    @Option(
            names = "--token-ids",
            paramLabel = "IDS",
            description = "Of trainable_tokens: the ids whose vectors are trained, with commas.")
    String tokenIds;

    @Option(
            names = "--adalora-init-rank",
            paramLabel = "R",
            description = "Of adalora: rank of each module at the start (default: 1.5 times --rank).")
    Integer initRank;

    @Option(
            names = "--adalora-tinit",
            paramLabel = "F",
            description = "Of adalora: part of the run before ranks are taken away (default: 0.15).")
    Double tinit;

    @Option(
            names = "--adalora-tfinal",
            paramLabel = "F",
            description = "Of adalora: part of the run after the last was taken away (default: 0.5).")
    Double tfinal;

    @Option(
            names = "--adalora-orthogonality",
            paramLabel = "X",
            description = "Of adalora: weight of the penalty that keeps A and B orthonormal (default: 0.5).")
    Double orthogonality;

    /** What {@link #config} says. */
    private Method read;

    /** A flag, its value, and the methods that have it. */
    private record Flag(String name, Object value, Set<AdapterName> methods) {}

    private Stream<Flag> given() {
        Set<AdapterName> any = EnumSet.allOf(AdapterName.class),
                ada = EnumSet.of(adalora),
                targets = EnumSet.copyOf(AT_ALL_LINEAR);
        targets.addAll(List.of(ia3, ln_tuning, bitfit));
        return Stream.of(
                        new Flag("--adapter", method, any),
                        new Flag(FILE, config, any),
                        new Flag("--rank", rank, EnumSet.of(lora, adalora, loha, lokr, vera)),
                        new Flag("--alpha", alpha, EnumSet.of(lora, adalora, loha, lokr)),
                        new Flag("--dropout", dropout, EnumSet.of(lora, adalora, vera, AdapterName.bottleneck)),
                        new Flag("--target", target, targets),
                        new Flag("--rslora", rsLora, EnumSet.of(lora)),
                        new Flag("--blocks", blocks, EnumSet.of(last_layers, lisa)),
                        new Flag("--every", every, EnumSet.of(lisa)),
                        new Flag("--virtual-tokens", virtualTokens, VIRTUAL),
                        new Flag("--token-ids", tokenIds, EnumSet.of(trainable_tokens)),
                        new Flag("--adalora-init-rank", initRank, ada),
                        new Flag("--adalora-tinit", tinit, ada),
                        new Flag("--adalora-tfinal", tfinal, ada),
                        new Flag("--adalora-orthogonality", orthogonality, ada))
                .filter(flag -> flag.value != null);
    }

    /** Throws if a flag was given, with which {@code other} would do nothing. */
    void requireNone(String other) {
        given().findFirst().ifPresent(flag -> {
            throw new IllegalArgumentException(flag.name + " does not go with " + other);
        });
    }

    /**
     * Throws if a flag was given that the method does not have; else what was not given gets its default, for config.yaml too.
     *
     * @param task what is trained, in PEFT's words: "CAUSAL_LM" or "SEQ_CLS"
     * @param base the model's name for the readers of the adapter's file
     */
    void check(String task, String base) {
        if (config != null) {
            readConfig(task, base);
            return;
        }
        method = method == null ? lora : method;
        given().filter(flag -> !flag.methods.contains(method)).findFirst().ifPresent(flag -> {
            throw new IllegalArgumentException(flag.name + " does not go with --adapter " + method);
        });
        if (method == trainable_tokens && (tokenIds == null || !tokenIds.matches("\\d{1,9}(,\\d{1,9})*"))) {
            throw new IllegalArgumentException("--adapter trainable_tokens needs --token-ids, whole numbers with commas"
                    + " between them" + (tokenIds == null ? "" : ", not " + tokenIds));
        }
        if (alpha != null && !(alpha > 0 && alpha < Double.POSITIVE_INFINITY)) { // at 0 nothing would be learnt
            throw new IllegalArgumentException("--alpha " + alpha + " must be a positive number");
        }
        rank = method.rank == 0 ? null : or(rank, method.rank);
        switch (method) {
            case lora, adalora -> dropout = or(dropout, 0.05);
            case vera, bottleneck -> dropout = or(dropout, 0.0);
            case last_layers -> blocks = or(blocks, 1);
            case lisa -> {
                blocks = or(blocks, 1);
                every = or(every, 20);
            }
            case prefix_tuning, prompt_tuning, p_tuning -> virtualTokens = or(virtualTokens, 20);
            case ia3, loha, lokr, ln_tuning, bitfit, trainable_tokens -> {}
        }
        target = AT_ALL_LINEAR.contains(method) ? or(target, ALL_LINEAR) : target;
    }

    private void readConfig(String task, String base) {
        given().filter(flag -> !flag.name.equals(FILE)).findFirst().ifPresent(flag -> {
            throw new IllegalArgumentException(
                    flag.name + " does not go with " + FILE + ", which has all options of the adapter");
        });
        read = Method.read(config, task, base);
        if (AdapterName.of(read).isEmpty()) {
            throw new IllegalArgumentException(config + ": " + read.getClass().getSimpleName()
                    + " decomposes matrices by LAPACK, which the command does not have; it is for programs");
        }
        if (read instanceof Lora lora && lora.init().needsData()) {
            throw new IllegalArgumentException(
                    config + ": init_lora_weights looks at data before the training, which the"
                            + " command does not do; choose another start, or attach it in a program");
        }
    }

    private AdapterName name() {
        return read == null ? method : AdapterName.of(read).orElseThrow();
    }

    /** The learning rate that goes with the method, after {@link #check}. */
    double rate() {
        return name().rate;
    }

    /** True of methods that train copies of whole matrices inside the blocks. */
    boolean trainsWeights() {
        return name() == lisa || name() == last_layers;
    }

    private static <T> T or(T value, T otherwise) {
        return value == null ? otherwise : value;
    }

    /** Positions that a method takes in front of each text. */
    static int virtualTokens(Method method) {
        return switch (method) {
            case PrefixTuning p -> p.virtualTokens();
            case PromptTuning p -> p.virtualTokens();
            case PTuning p -> p.virtualTokens();
            default -> 0;
        };
    }

    /** Throws if virtual tokens cannot stand in front of the texts; {@code contextLength} 0 = the model has no limit. */
    void requireFits(RunFlags.Data data, int contextLength) {
        int tokens = read == null ? or(virtualTokens, 0) : virtualTokens(read);
        if (tokens > 0 && data.packing) {
            throw new IllegalArgumentException("--packing does not go with --adapter " + name()
                    + ": virtual tokens stand in front of a row, which must be one text then");
        }
        if (tokens > 0 && contextLength > 0 && data.maxSeqLength + tokens > contextLength) {
            throw new IllegalArgumentException("--max-seq-length " + data.maxSeqLength + " and " + tokens
                    + " virtual tokens are over the model's limit of " + contextLength + " positions");
        }
    }

    /**
     * The method with its options, after {@link #check}.
     *
     * @param base the model's name for the readers of the file
     * @param tokenizer makes ids of the text that a prompt may begin with
     */
    Method method(String base, Tokenizer tokenizer) {
        return read == null ? fromFlags(base) : withIds(read, tokenizer);
    }

    private static Method withIds(Method method, Tokenizer tokenizer) {
        if (!(method instanceof PromptTuning p && p.init() instanceof PromptTuning.Init.Text text)) {
            return method;
        }
        List<Integer> ids = IntStream.of(tokenizer
                        .encode(text.text(), Tokenizer.Options.DOCUMENT)
                        .ids()) // as PEFT does it
                .boxed()
                .toList();
        return new PromptTuning(
                p.virtualTokens(), new PromptTuning.Init.Text(text.text(), text.tokenizer(), ids), p.baseModel());
    }

    private Method fromFlags(String base) {
        return switch (method) {
            case lora -> {
                Lora.Builder b = Lora.rank(rank).alpha(or(alpha, 2.0 * rank)).dropout(dropout);
                b = rsLora != null ? b.rsLora() : b;
                yield on(b::on, b::onMatching).baseModel(base).build();
            }
            case adalora -> {
                AdaLora.Builder b = adaLora().dropout(dropout);
                b = alpha == null ? b : b.alpha(alpha);
                yield on(b::on, b::onMatching).baseModel(base).build();
            }
            case ia3 -> {
                Ia3.Builder b = Ia3.at();
                b = target == null ? b.onMatching(IA3_TARGETS) : on(b);
                yield b.feedForwardMatching(IA3_FEED_FORWARD).baseModel(base).build();
            }
            case loha ->
                on(LoHa.rank(rank).alpha(or(alpha, (double) rank)))
                        .baseModel(base)
                        .build();
            case lokr ->
                on(LoKr.rank(rank).alpha(or(alpha, (double) rank)))
                        .baseModel(base)
                        .build();
            case vera -> on(Vera.rank(rank).dropout(dropout)).baseModel(base).build();
            case ln_tuning ->
                target == null
                        ? new LnTuning(null, List.of(), base)
                        : on(LnTuning.at()).baseModel(base).build();
            case bitfit ->
                target == null
                        ? new BitFit(null, base)
                        : on(BitFit.at()).baseModel(base).build();
            case last_layers -> new LastLayers(blocks, false, base);
            case lisa -> new Lisa(blocks, every, base);
            case trainable_tokens ->
                new TrainableTokens(
                        Stream.of(tokenIds.split(",")).map(Integer::valueOf).toList(), null, false, base);
            case prefix_tuning ->
                PrefixTuning.tokens(virtualTokens).baseModel(base).build();
            case prompt_tuning ->
                PromptTuning.tokens(virtualTokens).baseModel(base).build();
            case p_tuning -> PTuning.tokens(virtualTokens).baseModel(base).build();
            case bottleneck ->
                Bottleneck.pfeiffer().dropout(dropout).base(null, null, base).build();
        };
    }

    private AdaLora.Builder adaLora() {
        RankBudget.Parts paper = RankBudget.Parts.PAPER;
        AdaLora.Builder b = AdaLora.rank(rank)
                .budget(new RankBudget.Parts(or(tinit, paper.tinit()), or(tfinal, paper.tfinal()), paper.deltaT()));
        b = initRank == null ? b : b.from(initRank);
        return orthogonality == null ? b : b.orthogonality(orthogonality);
    }

    private <B extends MethodBuilder<B>> B on(B builder) {
        return on(builder::on, builder::onMatching);
    }

    private <B> B on(Function<String[], B> names, Function<String, B> pattern) {
        return target.matches("[A-Za-z0-9_,.-]+") ? names.apply(target.split(",")) : pattern.apply(target);
    }
}
