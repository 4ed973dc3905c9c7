package anneal.peft;

import anneal.nn.Adapter;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.tensor.Tensor;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Low-rank adaptation: a frozen layer y = x Wt gets a trained addition of two thin matrices.
 *
 * <pre>
 * y = x Wt + scaling dropout(x) At Bt           A [rank, in], B [out, rank]
 * scaling = alpha / rank, or alpha / sqrt(rank) with rsLora
 * </pre>
 *
 * <p>B starts at zero, so a fresh adapter changes nothing, and the gradient of A is zero at the first step. Hu et al.,
 * arXiv:2106.09685; rsLoRA: Kalajdzievski, arXiv:2312.03732. Options, matching rules and files are those of PEFT's LoraConfig.
 *
 * @param rank columns of B
 * @param alpha numerator of the scaling
 * @param dropout probability with which an input of the addition is dropped while training
 * @param bias which biases of the model are trained too
 * @param targets layers that get the addition
 * @param rankPattern ranks of single layers: the first key that fits a path, as a regular expression for its end, counts
 * @param alphaPattern alphas of single layers, found in the same way
 * @param rsLora scaling by the root of the rank
 * @param init how A and B start
 * @param dora true: the additions only turn the weights of an output, and a trained vector says how long they are: y = m (x Wt + scaling
 *     x At Bt) / |W + scaling B A|, the norm by output, a constant in the gradient. DoRA, Liu et al., arXiv:2402.09353. The bias is
 *     not scaled. With dropout PEFT drops from the input of W in this term too, here only the addition's input is dropped, as without DoRA
 * @param modulesToSave linear layers and embeddings that are trained and saved whole
 * @param baseModel name or path of the base model, written into the file for its readers; may be null
 */
public record Lora(
        int rank,
        double alpha,
        double dropout,
        Bias bias,
        Targets targets,
        Map<String, Integer> rankPattern,
        Map<String, Double> alphaPattern,
        boolean rsLora,
        LoraInit init,
        boolean dora,
        List<String> modulesToSave,
        String baseModel)
        implements Method {
    /** Starts that need nothing but a seed. */
    public enum Init implements LoraInit {
        /** A uniform in +-1/sqrt(in) (Kaiming with a = sqrt 5), B zero. */
        KAIMING,
        /** A normal with standard deviation 1/rank, B zero. */
        GAUSSIAN,
        /** A and B uniform in +-1/sqrt(in) and +-1/sqrt(rank): not an identity, for tests. */
        RANDOM
    }

    public Lora {
        requireRank(rank);
        rankPattern.values().forEach(Lora::requireRank);
        if (!(dropout >= 0 && dropout < 1)) {
            throw new IllegalArgumentException("Lora: dropout " + dropout + " must be in [0, 1)");
        }
        if (!Double.isFinite(alpha) || !alphaPattern.values().stream().allMatch(Double::isFinite)) {
            throw new IllegalArgumentException(
                    "Lora: alpha " + alpha + " and those of alphaPattern " + alphaPattern + " must be finite numbers");
        }
        rankPattern = Collections.unmodifiableMap(new LinkedHashMap<>(rankPattern));
        alphaPattern = Collections.unmodifiableMap(new LinkedHashMap<>(alphaPattern));
        modulesToSave = List.copyOf(modulesToSave);
        rankPattern.keySet().forEach(Targets::pattern);
        alphaPattern.keySet().forEach(Targets::pattern);
    }

    private static void requireRank(int rank) {
        if (rank < 1) {
            throw new IllegalArgumentException("Lora: rank " + rank + " must be at least 1");
        }
    }

    /** Begins a configuration: {@code Lora.rank(16).alpha(32).on("all-linear").attach(model)}. */
    public static Builder rank(int rank) {
        return new Builder(rank);
    }

    /** Rank of the layer with this path. */
    int rank(String path) {
        return byPattern(rankPattern, path, rank);
    }

    /** Factor of the addition of the layer with this path. */
    double scaling(String path) {
        double r = rank(path);
        return byPattern(alphaPattern, path, alpha) / (rsLora ? Math.sqrt(r) : r);
    }

    static <T> T byPattern(Map<String, T> patterns, String path, T otherwise) {
        for (Map.Entry<String, T> e : patterns.entrySet()) {
            if (Targets.pattern("(.*\\.)?(" + e.getKey() + ")").matcher(path).matches()) {
                return e.getValue();
            }
        }
        return otherwise;
    }

    /** Of twice the rank at the same scaling, with a plain start. */
    Lora doubled() {
        double times = rsLora ? Math.sqrt(2) : 2;
        Map<String, Integer> ranks = new LinkedHashMap<>(rankPattern);
        Map<String, Double> alphas = new LinkedHashMap<>(alphaPattern);
        ranks.replaceAll((_, r) -> 2 * r);
        alphas.replaceAll((_, a) -> times * a);
        return new Lora(
                2 * rank,
                times * alpha,
                dropout,
                bias,
                targets,
                ranks,
                alphas,
                rsLora,
                Init.KAIMING,
                dora,
                modulesToSave,
                baseModel);
    }

    /** The same at other layers, with other ranks and alphas of single layers. */
    Lora with(Targets at, Map<String, Integer> ranks, Map<String, Double> alphas) {
        return new Lora(rank, alpha, dropout, bias, at, ranks, alphas, rsLora, init, dora, modulesToSave, baseModel);
    }

    @Override
    public Adapters attach(Module root, long seed) {
        if (init.needsData()) {
            throw new IllegalArgumentException("Lora: init " + init + " looks at data: attach(model, seed, batch)");
        }
        return Adapters.attach(this, root, seed);
    }

    /**
     * Attaches with a start that looks at data. With {@link LoraInit.Eva} the method of the adapters has the ranks that were found.
     *
     * @param batch runs the model over data: forward for {@link LoraInit.Eva}, forward and backward of one mean loss for
     *     {@link LoraInit.LoraGa}, for whose time the target layers hold trained floats
     */
    public Adapters attach(Module root, long seed, Runnable batch) {
        if (!init.needsData()) {
            throw new IllegalArgumentException("Lora: init " + init + " looks at no data: attach(model, seed)");
        }
        Map<String, Linear> layers = targets.find(root, true);
        for (Map.Entry<String, Linear> e : layers.entrySet()) {
            if (e.getValue().adapter() != Adapter.NONE) {
                throw Tuning.occupied(e.getKey());
            }
        }
        LoraTuning.requireRanks(this, layers);
        Lora lora = this;
        Map<String, Tensor> seen;
        if (init instanceof LoraInit.Eva eva) {
            EvaRanks found = EvaRanks.of(this, eva, layers, LoraData.inputs(layers, batch));
            lora = found.lora();
            seen = found.rows();
        } else {
            seen = LoraData.gradients(layers, batch);
        }
        Adapters adapters = Adapters.attach(lora, root, seed);
        try {
            ((LoraTuning) WholeTuning.method(adapters.tuning())).start(seen);
        } catch (RuntimeException e) {
            adapters.detach();
            throw e;
        }
        return adapters;
    }

    /** Collects the options; {@link #build} checks them. */
    public static final class Builder extends SavingBuilder<Builder> {
        private final int rank;
        private Double alpha;
        private double dropout;
        private Bias bias = Bias.NONE;
        private final Map<String, Integer> rankPattern = new LinkedHashMap<>();
        private final Map<String, Double> alphaPattern = new LinkedHashMap<>();
        private boolean rsLora;
        private LoraInit init = Init.KAIMING;
        private boolean dora;

        private Builder(int rank) {
            this.rank = rank;
        }

        /** Numerator of the scaling; twice the rank if not given. */
        public Builder alpha(double a) {
            alpha = a;
            return this;
        }

        /** Dropout on the adapter's input while training. */
        public Builder dropout(double p) {
            dropout = p;
            return this;
        }

        /** Biases that are trained too. */
        public Builder bias(Bias b) {
            bias = b;
            return this;
        }

        /** Another rank for the layers that fit. */
        public Builder rankOf(String pattern, int r) {
            rankPattern.put(pattern, r);
            return this;
        }

        /** Another alpha for the layers that fit. */
        public Builder alphaOf(String pattern, double a) {
            alphaPattern.put(pattern, a);
            return this;
        }

        /** Scaling by the root of the rank. */
        public Builder rsLora() {
            rsLora = true;
            return this;
        }

        /** How A and B start. */
        public Builder init(LoraInit i) {
            init = i;
            return this;
        }

        /** A trained length for each output: DoRA. */
        public Builder dora() {
            dora = true;
            return this;
        }

        @Override
        Builder self() {
            return this;
        }

        @Override
        public Lora build() {
            return new Lora(
                    rank,
                    alpha == null ? 2.0 * rank : alpha,
                    dropout,
                    bias,
                    targets(),
                    rankPattern,
                    alphaPattern,
                    rsLora,
                    init,
                    dora,
                    modulesToSave(),
                    baseModel());
        }

        /** {@link #build}, then {@link Lora#attach(Module, long, Runnable)}. */
        public Adapters attach(Module root, long seed, Runnable batch) {
            return build().attach(root, seed, batch);
        }
    }
}
