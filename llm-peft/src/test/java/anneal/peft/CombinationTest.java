package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.ArenaFixture;
import anneal.peft.Combination.Kind;
import anneal.peft.Combination.Majority;
import anneal.tensor.Rng;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class CombinationTest extends ArenaFixture {
    private TinyModel model;
    private AdapterSet set;

    @BeforeEach
    void open() {
        model = new TinyModel(arena, 2);
        set = new AdapterSet(model);
        set.add("plain", random(4).alpha(3).on("q_proj", "down_proj").build(), 1);
        set.add("rooted", random(4).alpha(3).rsLora().on("q_proj", "down_proj").build(), 2);
        set.add(
                "patterned",
                random(4)
                        .on("down_proj", "v_proj")
                        .rankOf("1.mlp.down_proj", 2)
                        .alphaOf("v_proj", 1)
                        .build(),
                3);
    }

    private static Lora.Builder random(int rank) {
        return Lora.rank(rank).init(Lora.Init.RANDOM);
    }

    private float[] logits(String... names) {
        set.use(names);
        return AdapterContract.logits(model);
    }

    /** Whatever its scaling: alpha / r, alpha / sqrt r, ranks and alphas of single layers. */
    @ParameterizedTest
    @EnumSource(Kind.class)
    void oneAdapterWithWeightOneIsThatAdapter(Kind kind) {
        for (String name : List.of("plain", "rooted", "patterned")) {
            set.combine("copy of " + name, Combination.of(kind), Map.of(name, 1.0));
            AdapterContract.assertClose(logits("copy of " + name), logits(name), 2e-5);
        }
    }

    @Test
    void catAndSvdAreTheSumOfTheUpdates() {
        float[] both = logits("plain", "patterned");
        set.combine("cat", Combination.of(Kind.CAT), Map.of("plain", 1.0, "patterned", 1.0));
        AdapterContract.assertClose(logits("cat"), both, 2e-5);
        set.combine("svd", Combination.of(Kind.SVD).rank(8), Map.of("plain", 1.0, "patterned", 1.0));
        AdapterContract.assertClose(logits("svd"), both, 2e-5);
        set.combine("short", Combination.of(Kind.SVD).rank(3), Map.of("plain", 1.0, "patterned", 1.0));
        assertThat(logits("short")).isNotEqualTo(logits("svd"));
        assertThat(set.get("short")
                        .parameters()
                        .get("model.layers.0.mlp.down_proj.lora_A.weight")
                        .dim(0))
                .isEqualTo(3);
    }

    @Test
    void aWeightOfMinusOneTakesAnAdapterAway() {
        set.combine("nothing", Combination.of(Kind.CAT), Map.of("plain", 1.0));
        set.combine("less", Combination.of(Kind.LINEAR), Map.of("plain", -1.0));
        float[] base = logits(new String[0]);
        AdapterContract.assertClose(logits("nothing", "less"), base, 2e-5);
    }

    @Test
    void everyOptionChangesSomething() {
        Map<String, Double> two = Map.of("plain", 1.0, "rooted", 0.5);
        Combination ties = Combination.of(Kind.TIES).density(0.5),
                dare = Combination.of(Kind.DARE_LINEAR).density(0.5);
        float[] ofTies = made(ties, two), ofDare = made(dare, two);
        assertThat(made(ties, two)).containsExactly(ofTies);
        assertThat(made(dare, two)).containsExactly(ofDare);
        assertThat(made(ties.density(0.6), two)).isNotEqualTo(ofTies);
        assertThat(made(ties.majority(Majority.FREQUENCY), two)).isNotEqualTo(ofTies);
        assertThat(made(dare.seed(1), two)).isNotEqualTo(ofDare);
        for (Kind kind : Kind.values()) {
            assertThat(made(Combination.of(kind), two))
                    .as("%s uses weights", kind)
                    .isNotEqualTo(made(Combination.of(kind), Map.of("plain", 1.0, "rooted", 0.7)));
        }
    }

    private float[] made(Combination how, Map<String, Double> weights) {
        set.combine("made", how, weights);
        float[] logits = logits("made");
        set.delete("made");
        return logits;
    }

    @Test
    void theArithmeticByHand() {
        float[] x = {1, -4, 2, -3}, y = {-2, -1, 3, 0};
        assertThat(TaskArithmetic.trim(x, 0.5)).containsExactly(0, -4, 0, -3);
        assertThat(TaskArithmetic.trim(new float[] {1, -1, 1}, 0.7))
                .as("of equal ones the first")
                .containsExactly(1, -1, 0);
        assertThat(TaskArithmetic.sum(List.of(x, y), new double[] {2, 1})).containsExactly(0, -9, 7, -6);
        // Signs of the sums -1, -5, 5, -3: 1 and 0 disagree. Weighted: y alone -2; (2*-4-1)/2; (2*2+3)/2; x alone 2*-3.
        assertThat(TaskArithmetic.elect(List.of(x, y), new double[] {2, 1}, Majority.TOTAL))
                .containsExactly(-2, -4.5f, 3.5f, -6);
        // One vote each for the first: a tie counts as plus.
        assertThat(TaskArithmetic.elect(List.of(x, y), new double[] {2, 1}, Majority.FREQUENCY))
                .containsExactly(2, -4.5f, 3.5f, -6);
        float[] many = new float[10_000];
        java.util.Arrays.fill(many, 1);
        float[] dropped = TaskArithmetic.drop(many, 0.25, new Rng(3));
        double sum = 0;
        for (float d : dropped) {
            assertThat(d).isIn(0f, 4f);
            sum += d;
        }
        assertThat(sum / many.length).as("the expectation stays").isBetween(0.95, 1.05);
    }

    @Test
    void refusesWhatCannotBeCombined() {
        assertThatThrownBy(() -> set.combine("x", Combination.of(Kind.TIES), Map.of("plain", 1.0, "patterned", 1.0)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("combine: TIES adds A and B of equal ranks, but at model.layers.1.mlp.down_proj")
                .hasMessageContaining("take CAT or TIES_SVD");
        assertThatThrownBy(() -> set.combine("x", Combination.of(Kind.CAT), Map.of()))
                .hasMessage("combine: there is nothing to combine");
        assertThatThrownBy(() -> set.combine("x", Combination.of(Kind.CAT), Map.of("plain", Double.NaN)))
                .hasMessage("combine: weight NaN of plain is no number");
        assertThatThrownBy(() -> Combination.of(Kind.TIES).density(0))
                .hasMessage("Combination: density 0.0 must be in (0, 1]");
        assertThatThrownBy(() -> Combination.of(Kind.LINEAR).density(0.5))
                .hasMessageStartingWith(
                        "Combination: LINEAR keeps all numbers; density 0.5 is for TIES, TIES_SVD, DARE");
        assertThatThrownBy(() -> Combination.of(Kind.CAT).rank(2))
                .hasMessageStartingWith("Combination: rank 2 can be chosen for SVD, TIES_SVD")
                .hasMessageEndingWith(", not CAT");
        assertThatThrownBy(() -> Combination.of(Kind.LINEAR).majority(Majority.FREQUENCY))
                .hasMessageStartingWith("Combination: LINEAR elects no sign; majority is for TIES");
    }
}
