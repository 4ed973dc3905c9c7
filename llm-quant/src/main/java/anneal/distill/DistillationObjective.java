package anneal.distill;

import anneal.data.Batch;
import anneal.model.Decoder;
import anneal.tensor.DistillOps;
import anneal.tensor.NllOptions;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Shape;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import anneal.train.Loss;
import anneal.train.Objective;
import java.lang.foreign.Arena;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * A student learns from a teacher: a weighted sum of losses, each over the trained positions of a batch.
 *
 * <pre>
 * loss = labels    * nll(student, target)
 *      + soft      * D_beta(student / T, teacher / T)                 see {@link SoftTargets}
 *      + hidden    * sum over layer pairs: mean((P h_student - h_teacher)^2)
 *      + attention * sum over layer pairs: KL(attention of the teacher || of the student), mean over heads
 * </pre>
 *
 * <p>Hidden states are those behind a block; P [D teacher, D student] is trained with the student where their sizes differ (Romero et
 * al., arXiv:1412.6550; Jiao et al., arXiv:1909.10351). The parts are reported as metrics under these names. Sequence-level and on-policy
 * distillation are this objective on other data: {@link GeneratedBatches}.
 */
public final class DistillationObjective implements Objective<Batch> {
    private final Builder b;
    private final Map<String, Tensor> projections = new TreeMap<>();

    private DistillationObjective(Builder builder) {
        b = builder;
        Rng rng = new Rng(b.seed);
        b.hiddenPairs.forEach((s, t) -> {
            int from = b.student.config().hiddenSize(), to = b.teacher.config().hiddenSize();
            if (from != to) {
                Tensor p = Tensor.allocate(b.arena, Shape.of(to, from));
                float[] start = new float[to * from];
                for (int i = 0; i < start.length; i++) {
                    start[i] = (float) (rng.nextGaussian() / Math.sqrt(from));
                }
                p.set(start);
                projections.put("projection." + s, p.trainable(true));
            }
        });
    }

    /** An objective of this student; give it at least one loss. */
    public static Builder of(Decoder student) {
        return new Builder(student);
    }

    /** What is trained besides the student: the projections of hidden states, by name. */
    public Map<String, Tensor> parameters() {
        return Collections.unmodifiableMap(projections);
    }

    /** Losses and their weights. */
    public static final class Builder {
        private final Decoder student;
        private Decoder teacher;
        private TeacherLogits stored;
        private SoftTargets soft;
        private double labelsWeight, softWeight, hiddenWeight, attentionWeight;
        private final Map<Integer, Integer> hiddenPairs = new LinkedHashMap<>();
        private final Map<Integer, Integer> attentionPairs = new LinkedHashMap<>();
        private Arena arena = Arena.ofAuto();
        private long seed;

        private Builder(Decoder student) {
            this.student = student;
        }

        /** The model that knows; it is not trained. */
        public Builder teacher(Decoder model) {
            teacher = model;
            return this;
        }

        /** What a teacher said before, in place of the teacher. */
        public Builder teacher(TeacherLogits logits) {
            stored = logits;
            return this;
        }

        /** The data's own targets. */
        public Builder labels(double weight) {
            labelsWeight = weight;
            return this;
        }

        /** The teacher's distribution. */
        public Builder soft(SoftTargets targets, double weight) {
            soft = targets;
            softWeight = weight;
            return this;
        }

        /** Hidden states: layer of the student to layer of the teacher, both from 0. */
        public Builder hidden(Map<Integer, Integer> layers, double weight) {
            hiddenPairs.putAll(layers);
            hiddenWeight = weight;
            return this;
        }

        /** Attention: layer of the student to layer of the teacher, both from 0. */
        public Builder attention(Map<Integer, Integer> layers, double weight) {
            attentionPairs.putAll(layers);
            attentionWeight = weight;
            return this;
        }

        /** Where projections live and what they start from. */
        public Builder projections(Arena memory, long start) {
            arena = memory;
            seed = start;
            return this;
        }

        /** The objective, if its parts fit one another. */
        public DistillationObjective build() {
            double[] weights = {labelsWeight, softWeight, hiddenWeight, attentionWeight};
            double sum = 0;
            for (double w : weights) {
                require(w >= 0 && w < Double.POSITIVE_INFINITY, "weight " + w + " must not be negative");
                sum += w;
            }
            require(sum > 0, "no loss has a weight: give labels, soft, hidden or attention one");
            require(teacher == null || stored == null, "there are two teachers: a model and stored logits");
            require(soft == null || teacher != null || stored != null, "soft targets need a teacher");
            require(
                    hiddenPairs.isEmpty() && attentionPairs.isEmpty() || teacher != null,
                    "hidden states and attention need the teacher itself, not its logits");
            if (teacher != null && soft != null) {
                require(
                        student.vocabSize() == teacher.vocabSize(),
                        "the student's vocabulary of " + student.vocabSize() + " tokens is not the teacher's of "
                                + teacher.vocabSize());
            }
            if (stored != null && soft != null) {
                require(
                        stored.largestId() < student.vocabSize(),
                        "the stored logits speak of token " + stored.largestId() + ", the student has "
                                + student.vocabSize());
                require(soft.beta() == 0, "stored logits are for beta 0, not " + soft.beta());
                require(
                        (float) soft.temperature() == (float) stored.temperature(),
                        "the stored logits have temperature " + stored.temperature() + ", not " + soft.temperature());
            }
            hiddenPairs.forEach(this::requireLayers);
            attentionPairs.forEach(this::requireLayers);
            return new DistillationObjective(this);
        }

        private void requireLayers(int s, int t) {
            int own = student.config().layers(), others = teacher.config().layers();
            require(s >= 0 && s < own, "the student has no layer " + s + " of " + own);
            require(t >= 0 && t < others, "the teacher has no layer " + t + " of " + others);
        }

        private static void require(boolean holds, String rule) {
            if (!holds) {
                throw new IllegalArgumentException("distillation: " + rule);
            }
        }
    }

    @Override
    public Loss apply(Batch batch) {
        if (b.student.checkpointing() && b.hiddenWeight + b.attentionWeight > 0) {
            throw new IllegalArgumentException("distillation: hidden states and attention cannot be compared while the"
                    + " student's blocks are computed again; turn checkpointing off");
        }
        Trained at = Trained.of(batch);
        boolean live = b.teacher != null && (b.softWeight + b.hiddenWeight + b.attentionWeight) > 0;
        Pass teacher = live ? teacherPass(at) : null;
        Pass student = pass(b.student, at, b.hiddenPairs.keySet(), b.attentionPairs.keySet(), true);
        Parts parts = new Parts();
        if (b.labelsWeight > 0) {
            parts.add("labels", b.labelsWeight, Ops.nll(student.logits, at.targets(), NllOptions.PLAIN));
        }
        if (b.softWeight > 0) {
            Tensor loss = b.stored != null
                    ? b.soft.loss(student.logits, b.stored.of(batch))
                    : b.soft.loss(student.logits, teacher.logits);
            parts.add("soft", b.softWeight, loss);
        }
        if (b.hiddenWeight > 0) {
            b.hiddenPairs.forEach((s, t) -> parts.add("hidden", b.hiddenWeight, hidden(at, student, teacher, s, t)));
        }
        if (b.attentionWeight > 0) {
            b.attentionPairs.forEach((s, t) -> {
                Tensor all = DistillOps.attentionDivergence(student.inside.heads(s), teacher.inside.heads(t));
                parts.add("attention", b.attentionWeight, at.rows(all));
            });
        }
        parts.metrics.put(Loss.TOKENS, (double) batch.tokens());
        return new Loss(parts.sum, at.positions().length, parts.metrics);
    }

    private Tensor hidden(Trained at, Pass student, Pass teacher, int s, int t) {
        Tensor own = at.rows(student.inside.hidden(s)), wanted = at.rows(teacher.inside.hidden(t));
        Tensor p = projections.get("projection." + s);
        return DistillOps.meanSquare(p == null ? own : Ops.matmulT(own, p), wanted);
    }

    /** One run of a model: logits at the trained positions, and what was seen inside. */
    private record Pass(Tensor logits, Inside inside) {}

    private Pass teacherPass(Trained at) {
        try (Tape.Pause pause = Tape.pause()) {
            return pass(
                    b.teacher,
                    at,
                    Set.copyOf(b.hiddenPairs.values()),
                    Set.copyOf(b.attentionPairs.values()),
                    b.softWeight > 0);
        }
    }

    private static Pass pass(
            Decoder model, Trained at, Set<Integer> hiddenOf, Set<Integer> headsOf, boolean wantLogits) {
        Tensor[] out = new Tensor[1];
        Inside inside = Inside.look(model, hiddenOf, headsOf, () -> out[0] = model.hidden(at.tokens(), null));
        return new Pass(wantLogits ? model.logits(at.rows(out[0])) : null, inside);
    }

    /** The weighted sum, and the plain sums for the report. */
    private static final class Parts {
        private Tensor sum;
        private final Map<String, Double> metrics = new HashMap<>();

        void add(String name, double weight, Tensor rows) {
            Tensor part = Ops.sum(rows);
            metrics.merge(name, (double) part.item(), Double::sum);
            Tensor weighted = Ops.scale(part, (float) weight);
            sum = sum == null ? weighted : Ops.add(sum, weighted);
        }
    }
}
