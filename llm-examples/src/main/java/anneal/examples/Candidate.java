package anneal.examples;

import anneal.model.SequenceClassifier;
import anneal.nn.Trainable;
import anneal.peft.AdaLora;
import anneal.peft.Adapters;
import anneal.peft.BitFit;
import anneal.peft.Bottleneck;
import anneal.peft.Ia3;
import anneal.peft.LastLayers;
import anneal.peft.Lisa;
import anneal.peft.LnTuning;
import anneal.peft.LoHa;
import anneal.peft.LoKr;
import anneal.peft.Lora;
import anneal.peft.LoraInit;
import anneal.peft.LoraPlus;
import anneal.peft.Method;
import anneal.peft.Osf;
import anneal.peft.PTuning;
import anneal.peft.PrefixTuning;
import anneal.peft.PromptTuning;
import anneal.peft.TrainableTokens;
import anneal.peft.Vera;
import anneal.tensor.Tensor;
import anneal.train.ParameterGroup;
import java.util.List;
import java.util.Map;
import java.util.function.BiFunction;
import java.util.function.Function;

/**
 * A method that can be had in several sizes.
 *
 * @param rate at which it learns: the one that its class names; for LoRA, which names none, that of the command
 * @param most largest size that makes sense; 0 = it has no size
 * @param sized the method of a size; null = nothing but the head is trained
 * @param groups what is done to fresh adapters: some may be frozen, some get another rate
 */
record Candidate(
        String name,
        double rate,
        int most,
        BiFunction<Sizer, Integer, Method> sized,
        Function<Adapters, List<ParameterGroup>> groups) {
    private static final double LORA_RATE = 2e-4;
    private static final String[] LAYERS = {"q_proj", "v_proj"};

    /** Virtual tokens whose network has a size. */
    private static final int TOKENS = 16;

    /** The rates of A and B lie around {@link #LORA_RATE}, their geometric mean. */
    private static final LoraPlus PLUS = new LoraPlus(16, 1);

    Candidate(String name, double rate, int most, BiFunction<Sizer, Integer, Method> sized) {
        this(name, rate, most, sized, _ -> List.of());
    }

    /** Sizes are ranks, tokens, units of a network, thousandths of the directions or blocks. */
    static final List<Candidate> ALL = List.of(
            new Candidate("head alone", LORA_RATE, 0, null),
            new Candidate("LoRA", LORA_RATE, 128, (_, n) -> lora(n).build()),
            new Candidate("rsLoRA", LORA_RATE, 128, (_, n) -> lora(n).rsLora().build()),
            new Candidate("DoRA", LORA_RATE, 128, (_, n) -> lora(n).dora().build()),
            new Candidate(
                    "PiSSA",
                    LORA_RATE,
                    128,
                    (_, n) -> lora(n).init(new LoraInit.Pissa(4)).build()),
            new Candidate(
                    "LoRA+",
                    LORA_RATE / Math.sqrt(PLUS.ratio()),
                    128,
                    (_, n) -> lora(n).build(),
                    a -> TuningCurves.groups(PLUS, a)),
            new Candidate("LoRA-FA", LORA_RATE, 128, (_, n) -> lora(n).build(), a -> {
                a.freeze("lora_A");
                return List.of();
            }),
            new Candidate(
                    "AdaLoRA",
                    AdaLora.LEARNING_RATE,
                    128,
                    (_, n) -> AdaLora.rank(n).on(LAYERS).build()),
            new Candidate(
                    "LoHa",
                    LoHa.LEARNING_RATE,
                    64,
                    (_, n) -> LoHa.rank(n).alpha(n).on(LAYERS).build()),
            new Candidate(
                    "LoKr",
                    LoKr.LEARNING_RATE,
                    64,
                    (_, n) -> LoKr.rank(n).alpha(n).on(LAYERS).build()),
            new Candidate(
                    "VeRA",
                    Vera.LEARNING_RATE,
                    256,
                    (_, n) -> Vera.rank(n).on(LAYERS).build()),
            new Candidate(
                    "IA3",
                    Ia3.LEARNING_RATE,
                    0,
                    (_, _) -> Ia3.at("k_proj", "v_proj", "down_proj")
                            .feedForward("down_proj")
                            .build()),
            new Candidate("LN tuning", LnTuning.LEARNING_RATE, 0, (_, _) -> LnTuning.everywhere()),
            new Candidate("BitFit", BitFit.LEARNING_RATE, 0, (_, _) -> BitFit.everywhere()),
            new Candidate(
                    "Houlsby bottlenecks", Bottleneck.LEARNING_RATE, 128, (s, n) -> s.wide(Bottleneck.houlsby(), n)),
            new Candidate(
                    "Pfeiffer bottlenecks", Bottleneck.LEARNING_RATE, 128, (s, n) -> s.wide(Bottleneck.pfeiffer(), n)),
            new Candidate(
                    "parallel bottlenecks", Bottleneck.LEARNING_RATE, 128, (s, n) -> s.wide(Bottleneck.parallel(), n)),
            new Candidate(
                    "prefix tuning",
                    PrefixTuning.LEARNING_RATE,
                    64,
                    (_, n) -> PrefixTuning.tokens(n).build()),
            // a network as P-tuning's, so at its rate
            new Candidate(
                    "projected prefix",
                    PTuning.LEARNING_RATE,
                    1024,
                    (_, n) -> PrefixTuning.tokens(TOKENS).projection(n).build()),
            new Candidate(
                    "prompt tuning",
                    PromptTuning.LEARNING_RATE,
                    16,
                    (_, n) -> PromptTuning.tokens(n).build()),
            new Candidate(
                    "P-tuning",
                    PTuning.LEARNING_RATE,
                    1024,
                    (_, n) -> PTuning.tokens(TOKENS).hiddenSize(n).build()),
            new Candidate(
                    "trainable tokens",
                    TrainableTokens.LEARNING_RATE,
                    4096,
                    (s, n) -> TrainableTokens.of(s.mostFrequent(n))),
            new Candidate(
                    "OSF",
                    Osf.LEARNING_RATE,
                    31,
                    (_, n) -> Osf.part(1 - n / 1000.0).on(LAYERS).build()),
            new Candidate("last layers", LastLayers.LEARNING_RATE, 8, (_, n) -> LastLayers.of(n)),
            new Candidate("LISA", Lisa.LEARNING_RATE, 8, (_, n) -> Lisa.of(n, 10)));

    /**
     * Finds sizes.
     *
     * @param frequent tokens of the texts, the most frequent first
     */
    record Sizer(SequenceClassifier model, List<Integer> frequent) {
        int width() {
            return model.body().config().hiddenSize();
        }

        /** Bottlenecks of so many units. */
        private Bottleneck wide(Bottleneck.Builder bottleneck, int units) {
            return bottleneck
                    .reduction(width() / (units + 0.5))
                    .build(); // half a unit: rounding down ends at this number
        }

        Integer[] mostFrequent(int n) {
            if (n > frequent.size()) {
                throw new IllegalArgumentException(n + " tokens: the texts have " + frequent.size());
            }
            return frequent.subList(0, n).toArray(Integer[]::new);
        }

        /**
         * The largest size with at most so many parameters, by halving; 1 if even that has more. What one unit takes is a good first
         * guess for most methods, which matters where a trial decomposes every matrix.
         */
        int largest(Candidate c, long budget) {
            int fits = 1, high = c.most, guess = Math.clamp(budget / parameters(c, 1), Math.min(2, high), high);
            for (int size = guess; fits < high; ) {
                boolean within = parameters(c, size) <= budget;
                if (within) {
                    fits = size;
                } else {
                    high = size - 1;
                }
                size = within && size == guess ? size + 1 : (fits + high + 1) / 2;
            }
            return fits;
        }

        /** As many as there can be, if the model has no room for such a size: a rank above its width, more blocks than it has. */
        private long parameters(Candidate c, int size) {
            try {
                Adapters trial = c.sized.apply(this, size).attach(model, 1);
                c.groups.apply(trial);
                trial.detach();
                return count(trial);
            } catch (IllegalArgumentException e) {
                return Long.MAX_VALUE;
            }
        }
    }

    /** What is trained, and at which rates. */
    record Start(Trainable trained, List<ParameterGroup> groups) {}

    /** Puts it into the model, and freezes the rest. */
    Start start(Sizer sizer, int size) {
        if (sized != null) {
            Adapters adapters = sized.apply(sizer, size).attach(sizer.model(), 1);
            return new Start(adapters, groups.apply(adapters));
        }
        Tensor head = sizer.model().head().weight().parameter().orElseThrow();
        sizer.model().freeze();
        return new Start(() -> Map.of("score.weight", head), List.of());
    }

    private static Lora.Builder lora(int rank) {
        return Lora.rank(rank).alpha(2 * rank).on(LAYERS);
    }

    /** Parameters without the head's. */
    static long count(Trainable trained) {
        return trained.parameters().entrySet().stream()
                .filter(e -> !e.getKey().startsWith("score."))
                .mapToLong(e -> e.getValue().size())
                .sum();
    }
}
