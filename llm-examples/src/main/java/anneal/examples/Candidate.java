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
import anneal.peft.Method;
import anneal.peft.PTuning;
import anneal.peft.PrefixTuning;
import anneal.peft.PromptTuning;
import anneal.peft.TrainableTokens;
import anneal.peft.Vera;
import anneal.tensor.Tensor;
import java.util.List;
import java.util.Map;
import java.util.function.BiFunction;

/**
 * A method that can be had in several sizes.
 *
 * @param rate at which it learns: the one that its class names; for LoRA, which names none, that of the command
 * @param most largest size that makes sense; 0 = it has no size
 * @param sized the method of a size; null = nothing but the head is trained
 */
record Candidate(String name, double rate, int most, BiFunction<Sizer, Integer, Method> sized) {
    private static final double LORA_RATE = 2e-4;
    private static final String[] LAYERS = {"q_proj", "v_proj"};

    /** Sizes are ranks, tokens, units of a network or blocks. */
    static final List<Candidate> ALL = List.of(
            new Candidate("head alone", LORA_RATE, 0, null),
            new Candidate(
                    "LoRA",
                    LORA_RATE,
                    128,
                    (_, n) -> Lora.rank(n).alpha(2 * n).on(LAYERS).build()),
            new Candidate(
                    "rsLoRA",
                    LORA_RATE,
                    128,
                    (_, n) -> Lora.rank(n).alpha(2 * n).rsLora().on(LAYERS).build()),
            new Candidate(
                    "DoRA",
                    LORA_RATE,
                    128,
                    (_, n) -> Lora.rank(n).alpha(2 * n).dora().on(LAYERS).build()),
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
                    "bottlenecks",
                    Bottleneck.LEARNING_RATE,
                    128,
                    (s, n) -> Bottleneck.pfeiffer()
                            .reduction(s.width() / (n + 0.5))
                            .build()),
            new Candidate(
                    "prefix tuning",
                    PrefixTuning.LEARNING_RATE,
                    64,
                    (_, n) -> PrefixTuning.tokens(n).build()),
            new Candidate(
                    "prompt tuning",
                    PromptTuning.LEARNING_RATE,
                    16,
                    (_, n) -> PromptTuning.tokens(n).build()),
            new Candidate(
                    "P-tuning",
                    PTuning.LEARNING_RATE,
                    1024,
                    (_, n) -> PTuning.tokens(16).hiddenSize(n).build()),
            new Candidate(
                    "trainable tokens",
                    TrainableTokens.LEARNING_RATE,
                    4096,
                    (s, n) -> TrainableTokens.of(s.mostFrequent(n))),
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

        Integer[] mostFrequent(int n) {
            if (n > frequent.size()) {
                throw new IllegalArgumentException(n + " tokens: the texts have " + frequent.size());
            }
            return frequent.subList(0, n).toArray(Integer[]::new);
        }

        /** The largest size with at most so many parameters, by halving; 1 if even that has more. */
        int largest(Candidate c, long budget) {
            int fits = 1, high = c.most;
            while (fits < high) {
                int middle = (fits + high + 1) / 2;
                if (parameters(c, middle) <= budget) {
                    fits = middle;
                } else {
                    high = middle - 1;
                }
            }
            return fits;
        }

        /** As many as there can be, if the model has no room for such a size: a rank above its width, more blocks than it has. */
        private long parameters(Candidate c, int size) {
            try {
                Adapters trial = c.sized.apply(this, size).attach(model, 1);
                trial.detach();
                return count(trial);
            } catch (IllegalArgumentException e) {
                return Long.MAX_VALUE;
            }
        }
    }

    /** Puts it into the model, and freezes the rest. */
    Trainable attach(Sizer sizer, int size) {
        if (sized != null) {
            return sized.apply(sizer, size).attach(sizer.model(), 1);
        }
        Tensor head = sizer.model().head().weight().parameter().orElseThrow();
        sizer.model().freeze();
        return () -> Map.of("score.weight", head);
    }

    /** Parameters without the head's. */
    static long count(Trainable trained) {
        return trained.parameters().entrySet().stream()
                .filter(e -> !e.getKey().startsWith("score."))
                .mapToLong(e -> e.getValue().size())
                .sum();
    }
}
