package anneal.peft;

import java.util.ArrayList;
import java.util.List;

/**
 * Rates of the two factors of a {@link Lora}: B learns {@code ratio} times as fast as A. Hayou et al., arXiv:2402.12354; groups are those of
 * PEFT's create_loraplus_optimizer: vectors (biases, DoRA's lengths) go with B and do not decay, both factors of an embedding have a
 * rate of their own.
 *
 * <p>A {@link Group} says what a trainer's parameter group does: {@code new ParameterGroup(g.pattern(), g.rateFactor(), g.decay())}.
 *
 * @param ratio rate of B over that of A, at least 1; the paper's 16 is a good first try
 * @param embeddingFactor rate of an embedding's factors over that of A; PEFT gives the rate itself, 1e-6 unless told
 */
public record LoraPlus(double ratio, double embeddingFactor) {
    /**
     * Parameters that are treated alike.
     *
     * @param pattern regular expression, found anywhere in the name
     * @param rateFactor times the schedule's rate
     * @param decay whether weight decay acts
     */
    public record Group(String pattern, double rateFactor, boolean decay) {}

    public LoraPlus {
        if (!(ratio >= 1) || Double.isInfinite(ratio)) {
            throw new IllegalArgumentException("LoraPlus: ratio " + ratio + " must be a number of at least 1");
        }
        if (!(embeddingFactor >= 0) || Double.isInfinite(embeddingFactor)) {
            throw new IllegalArgumentException(
                    "LoraPlus: embeddingFactor " + embeddingFactor + " must be a number of at least 0");
        }
    }

    /**
     * The groups of adapters; what stands in none of them is A and learns at the schedule's rate.
     *
     * @throws IllegalArgumentException if the adapters have no B
     */
    public List<Group> groups(Adapters adapters) {
        List<Group> all = new ArrayList<>(List.of(
                new Group("lora_embedding_[AB]$", embeddingFactor, true),
                new Group("lora_B\\.weight$", ratio, true),
                new Group("(bias|lora_magnitude_vector)$", ratio, false)));
        all.removeIf(g -> adapters.parameters().keySet().stream()
                .noneMatch(Targets.pattern(g.pattern()).asPredicate()));
        if (all.isEmpty()) {
            throw new IllegalArgumentException(
                    "LoraPlus: the adapters of " + adapters.method().getClass().getSimpleName() + " have no factor B");
        }
        return all;
    }
}
