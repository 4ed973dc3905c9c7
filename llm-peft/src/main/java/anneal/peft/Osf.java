package anneal.peft;

import anneal.nn.Linear;
import anneal.nn.Module;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * OSF, orthogonal subspace fine-tuning: of each matrix the directions with the largest singular values are kept as they are, the rest is
 * trained, and its gradient is kept out of what is frozen.
 *
 * <pre>
 * W = Uh Sh Vh + Ul Sl Vl                    singular value decomposition, h: the largest k values, l: the others
 * y = x (W + U S V - Ul Sl Vl)t + bias       U [out, r], S [r], V [r, in] trained from Ul, Sl, Vl; r = min(out, in) - k
 * dU -= Uh Uht dU          dV -= dV Vht Vh
 * </pre>
 *
 * <p>What a model knows lies mostly along the large singular values; learning in the others disturbs it least, so this is a method for
 * learning one task after another: merge, then attach again. Nayak et al., arXiv:2504.07097. Formula, options and files are those of
 * PEFT's OSFConfig; the file holds U, S and V alone, so who loads it decomposes the same base again. Not exact for an optimiser such as
 * Adam, which scales each number of a gradient by itself, here as there.
 *
 * @param kept how much is frozen of each matrix
 * @param targets layers that are trained
 * @param pattern other amounts for the layers in whose path this regular expression is found; the first that fits counts
 * @param baseModel name or path of the base model, written into the file for its readers; may be null
 */
public record Osf(Kept kept, Targets targets, Map<String, Kept> pattern, String baseModel) implements Method {
    /** A rate to begin with under AdamW: that of training a whole model, whose matrices these are. */
    public static final double LEARNING_RATE = LastLayers.LEARNING_RATE;

    /**
     * How many of a matrix' singular directions are frozen.
     *
     * @param amount a number of directions, or a part of them in (0, 1]
     * @param part true if it is a part
     */
    public record Kept(double amount, boolean part) {
        public Kept {
            if (part ? !(amount > 0 && amount <= 1) : !(amount >= 1 && amount == Math.rint(amount))) {
                throw new IllegalArgumentException("Osf: kept " + amount
                        + (part
                                ? " must be in (0, 1] as a part"
                                : " must be a whole number of directions, at least 1"));
            }
        }

        /** The number for a matrix whose smaller side is this. */
        int of(int side) {
            return Math.min(side, (int) (part ? side * amount : amount));
        }
    }

    /** PEFT's default: half of the directions. */
    static final Kept HALF = new Kept(0.5, true);

    public Osf {
        pattern = Collections.unmodifiableMap(new LinkedHashMap<>(pattern));
        pattern.keySet().forEach(Targets::pattern);
    }

    /** Keeps this part of the directions of each matrix: {@code Osf.part(0.5).on("all-linear").attach(model)}. */
    public static Builder part(double part) {
        return new Builder(new Kept(part, true));
    }

    /** Keeps this number of directions of each matrix. */
    public static Builder directions(int directions) {
        return new Builder(new Kept(directions, false));
    }

    /** Directions of a layer that are frozen. */
    private int kept(String path, Linear linear) {
        int side = Math.min(linear.in(), linear.out());
        Kept here = pattern.entrySet().stream()
                .filter(e -> Targets.pattern(e.getKey()).matcher(path).find())
                .map(Map.Entry::getValue)
                .findFirst()
                .orElse(kept);
        int k = here.of(side);
        if (k < 1 || k >= side) {
            throw new IllegalArgumentException(
                    "Osf: " + k + " of the " + side + " directions of " + path + " [" + linear.out() + ", "
                            + linear.in() + "] are kept; at least one must be, and one must be left to train");
        }
        return k;
    }

    LinearTuning tuning(Module root, boolean everyName) {
        return LinearTuning.of(targets.find(root, everyName), (path, l) -> new OsfLayer(l, kept(path, l)));
    }

    /** Collects the options; {@link #build} checks them. */
    public static final class Builder extends MethodBuilder<Builder> {
        private final Kept kept;
        private final Map<String, Kept> pattern = new LinkedHashMap<>();

        private Builder(Kept kept) {
            this.kept = kept;
        }

        /** Another part for the layers in whose path this is found. */
        public Builder part(String pathRegex, double part) {
            pattern.put(pathRegex, new Kept(part, true));
            return this;
        }

        /** Another number of directions for the layers in whose path this is found. */
        public Builder directions(String pathRegex, int directions) {
            pattern.put(pathRegex, new Kept(directions, false));
            return this;
        }

        @Override
        Builder self() {
            return this;
        }

        @Override
        public Osf build() {
            return new Osf(kept, targets(), pattern, baseModel());
        }
    }
}
