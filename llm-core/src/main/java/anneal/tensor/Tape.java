package anneal.tensor;

import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;

/**
 * Reverse-mode differentiation: a list of what was computed, walked backwards.
 *
 * <p>An op computes its result and calls {@link #record} with a closure that adds to the gradients of its inputs. {@link #backward}
 * sets the gradient of the loss to one and runs the closures from the last to the first. Gradients are always <b>added</b>: a
 * tensor that is used twice gets both parts. The gradient of an intermediate result is given back to memory as soon as its own
 * closure has run; those of parameters stay until they are cleared.
 *
 * <p>There is one tape per thread. It records while training ({@link #pause} stops it) and only what depends on a tracked tensor.
 * Custom ops use {@code record} in the same way: see docs/adding-an-op.md.
 */
public final class Tape {
    private static final ThreadLocal<Tape> CURRENT = ThreadLocal.withInitial(Tape::new);

    private record Node(Tensor y, Runnable backward, boolean inPlace) {}

    private List<Node> nodes = new ArrayList<>();
    private int paused = 0;
    private boolean training = true;
    private final Rng noise = new Rng(0);

    private Tape() {}

    /** Ends a pause. */
    public interface Pause extends AutoCloseable {
        @Override
        void close();
    }

    /**
     * Notes that y was computed from {@code inputs}; {@code backward} reads y's gradient and adds to theirs.
     *
     * @return y
     */
    public static Tensor record(Tensor y, Runnable backward, Tensor... inputs) {
        return CURRENT.get().add(y, backward, false, inputs);
    }

    /**
     * Notes that y, computed before, was changed in place (y += f(inputs), or an invertible map of y itself); {@code backward} adds to
     * the inputs' gradients, or maps y's gradient in place. The op that made y must not need its result for its own backward.
     */
    public static Tensor recordInPlace(Tensor y, Runnable backward, Tensor... inputs) {
        return CURRENT.get().add(y, backward, true, inputs);
    }

    private Tensor add(Tensor y, Runnable backward, boolean inPlace, Tensor... inputs) {
        if (paused == 0) {
            boolean tracked = inPlace && y.tracked();
            for (Tensor x : inputs) {
                tracked |= x != null && x.tracked();
            }
            if (tracked) {
                y.track();
                nodes.add(new Node(y, backward, inPlace));
            }
        }
        return y;
    }

    /** True while results are recorded, so that an op can skip what only its backward needs. */
    public static boolean recording() {
        return CURRENT.get().paused == 0;
    }

    /** True while dropout acts: not paused by the caller. */
    public static boolean training() {
        return CURRENT.get().training;
    }

    /** Stops recording, and with it dropout, until closed: evaluation, generation, a reference model. */
    public static Pause pause() {
        return CURRENT.get().stop(false);
    }

    private Pause stop(boolean keepTraining) {
        boolean before = training;
        training = keepTraining && before;
        paused++;
        return () -> {
            paused--;
            training = before;
        };
    }

    /** The seed of the next dropout mask: the tape owns the noise so that a checkpoint can replay it. */
    public static long nextSeed() {
        return CURRENT.get().noise.nextLong();
    }

    /** The noise that dropout draws from; the Trainer seeds it before each step. */
    public static Rng noise() {
        return CURRENT.get().noise;
    }

    /** Forgets what was recorded. */
    public static void clear() {
        CURRENT.get().nodes.clear();
    }

    /**
     * Adds d loss / d x to the gradient of every tracked x that the loss was computed from, and forgets the recording.
     *
     * @param loss one number
     */
    public static void backward(Tensor loss) {
        Shape.require(loss.size() == 1, "backward", loss, "the loss must be one number");
        if (!loss.tracked()) {
            CURRENT.get().nodes.clear();
            throw new IllegalArgumentException("backward: the loss depends on no trained parameter");
        }
        loss.gradBuf();
        loss.grad().set(new float[] {1f});
        CURRENT.get().walk();
    }

    private void walk() {
        List<Node> walked = nodes;
        nodes = new ArrayList<>();
        try (Pause p = stop(true)) {
            for (int i = walked.size() - 1; i >= 0; i--) {
                Node node = walked.set(i, null);
                if (node.y.hasGrad()) {
                    node.backward.run();
                    if (!node.inPlace) {
                        node.y.releaseGrad();
                    }
                }
            }
        }
    }

    /**
     * y = f(x) without keeping what is computed on the way: the backward pass computes it again. Chen et al.,
     * arXiv:1604.06174. Same gradients bit for bit; dropout is replayed.
     */
    public static Tensor checkpoint(UnaryOperator<Tensor> f, Tensor x) {
        return CURRENT.get().recompute(f, x);
    }

    private Tensor recompute(UnaryOperator<Tensor> f, Tensor x) {
        if (paused > 0) {
            return f.apply(x);
        }
        long seed = noise.state();
        Tensor y;
        try (Pause p = stop(true)) {
            y = copyOut(f, x);
        }
        y.track();
        nodes.add(new Node(y, () -> again(f, x, y, seed), false));
        return y;
    }

    /** f(x) computed in a scope of its own; only the result leaves it. */
    private static Tensor copyOut(UnaryOperator<Tensor> f, Tensor x) {
        Tensor y = Tensor.like(x);
        try (Memory.Scope scope = Memory.scope()) {
            Tensor inner = f.apply(x);
            Shape.require(inner.shape().equals(x.shape()), "checkpoint", x, inner, "f must keep the shape");
            y.set(inner);
        }
        return y;
    }

    private void again(UnaryOperator<Tensor> f, Tensor x, Tensor y, long seed) {
        List<Node> outer = nodes;
        int outerPause = paused;
        long now = noise.state();
        Tensor start = x.alias();
        y.gradBuf();
        try (Memory.Scope scope = Memory.scope()) {
            nodes = new ArrayList<>();
            paused = 0;
            noise.restore(seed);
            Tensor inner = f.apply(start);
            if (inner.tracked()) {
                inner.gradBuf();
                inner.grad().set(y.grad());
                walk();
            }
        } finally {
            nodes = outer;
            paused = outerPause;
            noise.restore(now);
        }
    }
}
