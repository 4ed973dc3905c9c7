package anneal.distill;

import anneal.tensor.DistillOps;
import anneal.tensor.Ops;
import anneal.tensor.Tensor;

/**
 * The student's next-token distribution against the teacher's, both softened by a temperature. Hinton et al., arXiv:1503.02531;
 * Agarwal et al., arXiv:2306.13649.
 *
 * <pre>
 * loss = D_beta(softmax(student / T), softmax(teacher / T))  (T^2 if timesSquare)
 * </pre>
 *
 * <p>With T the gradient shrinks as 1/T^2; the factor T^2 undoes that, so that the weight beside other losses need not change with
 * T. Hinton has it, TRL's GKD has not: here it is said.
 *
 * @param beta 0 = forward KL (the student covers all that the teacher says), 1 = reverse KL (it keeps to what the teacher says
 *     most), between them the generalised Jensen-Shannon divergence
 * @param temperature T
 * @param timesSquare multiplied by T^2
 */
public record SoftTargets(double beta, double temperature, boolean timesSquare) {
    public SoftTargets {
        if (!(beta >= 0 && beta <= 1)) {
            throw new IllegalArgumentException("SoftTargets: beta " + beta + " must be in [0, 1]");
        }
        if (!(temperature > 0 && temperature < Double.POSITIVE_INFINITY)) {
            throw new IllegalArgumentException("SoftTargets: temperature " + temperature + " must be positive");
        }
    }

    /** Hinton's: KL(teacher || student) times T^2. */
    public static SoftTargets forward(double temperature) {
        return new SoftTargets(0, temperature, true);
    }

    /** KL(student || teacher) times T^2. */
    public static SoftTargets reverse(double temperature) {
        return new SoftTargets(1, temperature, true);
    }

    /** The generalised Jensen-Shannon divergence as TRL's GKD computes it: without T^2. */
    public static SoftTargets jensenShannon(double beta, double temperature) {
        return new SoftTargets(beta, temperature, false);
    }

    /** The loss of each row. Shapes: both [.., V] -> [rows]. */
    public Tensor loss(Tensor studentLogits, Tensor teacherLogits) {
        return scaled(DistillOps.divergence(studentLogits, teacherLogits, (float) beta, (float) temperature));
    }

    /** The loss of each row against the k most probable tokens of a teacher; only forward. */
    Tensor loss(Tensor studentLogits, TeacherLogits.Top top) {
        return scaled(DistillOps.divergenceOfTop(studentLogits, top.ids(), top.logProbs(), (float) temperature));
    }

    private Tensor scaled(Tensor loss) {
        return timesSquare && temperature != 1 ? Ops.scale(loss, (float) (temperature * temperature)) : loss;
    }
}
