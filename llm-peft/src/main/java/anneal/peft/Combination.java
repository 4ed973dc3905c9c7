package anneal.peft;

import anneal.tensor.Rng;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;
import java.util.stream.Collectors;

/**
 * How several LoRA adapters become one: PEFT's add_weighted_adapter. With s the scaling of an adapter and w its weight:
 *
 * <pre>
 * CAT      A = [w1 s1 A1; w2 s2 A2; ..], B = [B1, B2, ..]         exactly the sum of the updates; ranks add up
 * SVD      B A = the best approximation of rank r of sum w s B A   exact if r is the rank of the sum
 * LINEAR   A = sum sign(w s) sqrt|w s| A, B = sum sqrt|w s| B      cheap, but B A has cross terms: not the sum of the updates
 * </pre>
 *
 * <p>The others first thin out what is summed: MAGNITUDE_PRUNE keeps the largest numbers, DARE random ones, TIES the largest that agree
 * in sign. They work on A and B apart, as LINEAR does, or with _SVD on the updates w s B A themselves. See {@link TaskArithmetic} for the
 * papers.
 *
 * <p>The result has scaling 1 (alpha = rank). One adapter with weight 1 gives itself, but for DARE and a density below 1. A layer that
 * only some of the adapters have is combined of those.
 *
 * <p>Of IA3 adapters there is only LINEAR, the weighted sum of their factors: l = sum w l. An adapter that leaves a layer alone has the
 * factor one there, where PEFT's sum leaves it out.
 *
 * <p>Differs from PEFT: its result of adapters with rank-stabilised scaling keeps that flag beside alpha = r, and so is sqrt(r) times too
 * large; ranks and alphas of single layers (rank_pattern) are honoured here; density 0 is refused; and random masks come from the seed.
 *
 * @param kind how
 * @param rank of the result, for the SVD kinds; 0 = the largest of the adapters
 * @param density part of the numbers that is kept, in (0, 1]; for kinds that do not thin out it must be 1
 * @param majority how TIES elects a sign
 * @param seed of DARE's masks
 */
public record Combination(Kind kind, int rank, double density, Majority majority, long seed) {
    /** PEFT's combination_type. */
    public enum Kind {
        LINEAR,
        CAT,
        SVD,
        TIES,
        TIES_SVD,
        DARE_LINEAR,
        DARE_LINEAR_SVD,
        DARE_TIES,
        DARE_TIES_SVD,
        MAGNITUDE_PRUNE,
        MAGNITUDE_PRUNE_SVD;

        boolean svd() {
            return name().endsWith("SVD");
        }

        private boolean ties() {
            return name().contains("TIES");
        }

        private boolean dare() {
            return name().startsWith("DARE");
        }

        private boolean thins() {
            return ties() || dare() || name().startsWith("MAGNITUDE");
        }
    }

    /** How TIES elects the sign of a number: PEFT's majority_sign_method. */
    public enum Majority {
        /** That of the sum. */
        TOTAL,
        /** That of most adapters. */
        FREQUENCY
    }

    public Combination {
        if (!(density > 0 && density <= 1)) {
            throw new IllegalArgumentException("Combination: density " + density + " must be in (0, 1]");
        }
        if (density < 1 && !kind.thins()) {
            throw new IllegalArgumentException("Combination: " + kind + " keeps all numbers; density " + density
                    + " is for " + names(Kind::thins));
        }
        if (rank < 0 || rank > 0 && !kind.svd()) {
            throw new IllegalArgumentException("Combination: rank " + rank
                    + (rank < 0
                            ? " must not be negative"
                            : " can be chosen for " + names(Kind::svd) + ", not " + kind));
        }
        if (majority != Majority.TOTAL && !kind.ties()) {
            throw new IllegalArgumentException(
                    "Combination: " + kind + " elects no sign; majority is for " + names(Kind::ties));
        }
    }

    private static String names(Predicate<Kind> which) {
        return Arrays.stream(Kind.values()).filter(which).map(Kind::name).collect(Collectors.joining(", "));
    }

    /** This kind with density 1, the largest rank, signs of the sum and seed 0. */
    public static Combination of(Kind kind) {
        return new Combination(kind, 0, 1, Majority.TOTAL, 0);
    }

    /** With this part of the numbers kept. */
    public Combination density(double d) {
        return new Combination(kind, rank, d, majority, seed);
    }

    /** With this rank of the result. */
    public Combination rank(int r) {
        return new Combination(kind, r, density, majority, seed);
    }

    /** With signs elected in this way. */
    public Combination majority(Majority m) {
        return new Combination(kind, rank, density, m, seed);
    }

    /** With this seed of random masks. */
    public Combination seed(long s) {
        return new Combination(kind, rank, density, majority, s);
    }

    // ---------------------------------------------------------------- combining

    /** Adapters and their weight. */
    record Part(Adapters adapters, double weight) {}

    /** The new adapter: its options and its numbers by name. */
    record Result(Method method, Map<String, float[]> numbers) {}

    /** A layer of one adapter. */
    private record Term(LowRank ab, double weight, double scaling) {
        double factor() {
            return weight * scaling;
        }
    }

    Result of(Map<String, Part> parts) {
        if (parts.isEmpty()) {
            throw new IllegalArgumentException("combine: there is nothing to combine");
        }
        boolean factors = parts.values().iterator().next().adapters.method() instanceof Ia3;
        Set<String> paths = new LinkedHashSet<>();
        parts.forEach((name, part) -> {
            if (factors) {
                Ia3Sum.requirePlain(name, part.adapters);
            } else {
                LowRank.requirePlain(name, part.adapters);
            }
            if (!Double.isFinite(part.weight)) {
                throw new IllegalArgumentException("combine: weight " + part.weight + " of " + name + " is no number");
            }
            paths.addAll(part.adapters.paths());
        });
        if (factors) {
            if (kind != Kind.LINEAR) {
                throw new IllegalArgumentException("combine: IA3 adapters have one weighted sum, LINEAR, not " + kind);
            }
            return Ia3Sum.of(parts, paths);
        }
        Map<String, LowRank> layers = new LinkedHashMap<>();
        for (String path : paths) {
            List<Term> terms = new ArrayList<>();
            parts.forEach((name, part) -> {
                if (part.adapters.paths().contains(path)) {
                    double scaling = ((Lora) part.adapters.method()).scaling(path);
                    terms.add(new Term(LowRank.of(part.adapters, path), part.weight, scaling));
                }
            });
            layers.put(path, combined(path, terms, new Rng(seed).fork(layers.size())));
        }
        Lora first = (Lora) parts.values().iterator().next().adapters.method();
        return LowRank.lora(layers, first.baseModel());
    }

    private LowRank combined(String path, List<Term> terms, Rng rng) {
        if (kind == Kind.CAT) {
            return cat(terms);
        }
        double[] factors = terms.stream().mapToDouble(Term::factor).toArray();
        if (kind.svd()) {
            int most = rank > 0
                    ? rank
                    : terms.stream().mapToInt(t -> t.ab.rank()).max().orElseThrow();
            return kind == Kind.SVD ? cat(terms).truncated(most) : ofUpdates(terms, most, rng);
        }
        int r = terms.getFirst().ab.rank();
        if (terms.stream().anyMatch(t -> t.ab.rank() != r)) {
            throw new IllegalArgumentException("combine: " + kind + " adds A and B of equal ranks, but at " + path
                    + " they are "
                    + terms.stream().map(t -> "" + t.ab.rank()).collect(Collectors.joining(" and "))
                    + "; take CAT or " + (kind == Kind.LINEAR ? "SVD" : kind + "_SVD"));
        }
        double[] ofA = Arrays.stream(factors)
                .map(f -> Math.signum(f) * Math.sqrt(Math.abs(f)))
                .toArray();
        double[] ofB = Arrays.stream(factors).map(f -> Math.sqrt(Math.abs(f))).toArray();
        LowRank shape = terms.getFirst().ab;
        return new LowRank(
                mix(terms.stream().map(t -> t.ab.a()).toList(), ofA, rng),
                mix(terms.stream().map(t -> t.ab.b()).toList(), ofB, rng),
                shape.out(),
                r,
                shape.in());
    }

    /** Thins out and sums the updates s B A themselves, which then are of full rank, and takes the nearest of low rank. */
    private LowRank ofUpdates(List<Term> terms, int most, Rng rng) {
        List<float[]> updates = terms.stream().map(t -> t.ab.product(t.scaling)).toList();
        double[] weights = terms.stream().mapToDouble(Term::weight).toArray();
        LowRank shape = terms.getFirst().ab;
        return LowRank.nearest(mix(updates, weights, rng), shape.out(), shape.in(), most);
    }

    /** The arrays thinned out and summed. */
    private float[] mix(List<float[]> x, double[] weights, Rng rng) {
        List<float[]> thin = density == 1
                ? x
                : x.stream()
                        .map(one -> kind.dare()
                                ? TaskArithmetic.drop(one, density, rng)
                                : TaskArithmetic.trim(one, density))
                        .toList();
        return kind.ties() ? TaskArithmetic.elect(thin, weights, majority) : TaskArithmetic.sum(thin, weights);
    }

    private static LowRank cat(List<Term> terms) {
        LowRank shape = terms.getFirst().ab;
        int r = terms.stream().mapToInt(t -> t.ab.rank()).sum(), at = 0;
        float[] a = new float[r * shape.in()], b = new float[shape.out() * r];
        for (Term t : terms) {
            int own = t.ab.rank();
            for (int i = 0; i < own * shape.in(); i++) {
                a[at * shape.in() + i] = (float) (t.factor() * t.ab.a()[i]);
            }
            for (int row = 0; row < shape.out(); row++) {
                System.arraycopy(t.ab.b(), row * own, b, row * r + at, own);
            }
            at += own;
        }
        return new LowRank(a, b, shape.out(), r, shape.in());
    }
}
