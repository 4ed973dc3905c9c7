package anneal.tensor;

import anneal.kernels.Compute;
import anneal.kernels.Kernels;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;

/**
 * Reverse-mode differentiation: a list of what was computed, walked backwards.
 *
 * <p>An op computes its result and calls {@link #record} with a closure that adds to the gradients of its inputs. {@link #backward}
 * sets the gradient of the loss to one and runs the closures from the last to the first. Gradients are always <b>added</b>: a
 * tensor that is used twice gets both parts (the first of them may overwrite, see {@link Tensor#gradSlot}). The gradient of an
 * intermediate result is given back to memory as soon as its own closure has run; those of parameters stay until they are
 * cleared. What an op has read must not be changed in place afterwards: the backward pass notices and says so.
 *
 * <p>There is one tape per thread. It records while training ({@link #pause} stops it) and only what depends on a tracked tensor.
 * Custom ops use {@code record} in the same way: see docs/adding-an-op.md.
 */
public final class Tape {
    private static final ThreadLocal<Tape> CURRENT = ThreadLocal.withInitial(Tape::new);

    /**
     * One op.
     *
     * @param first true if the gradient of y begins here: nothing recorded before this node adds to it or reads it
     * @param inputs what the op read, each with its version at that time
     */
    private record Node(Tensor y, Runnable backward, boolean first, Tensor[] inputs, int[] versions) {
        static Node of(Tensor y, Runnable backward, boolean first, Tensor... inputs) {
            int[] versions = new int[inputs.length];
            for (int i = 0; i < inputs.length; i++) {
                versions[i] = inputs[i] == null ? 0 : inputs[i].version();
            }
            return new Node(y, backward, first, inputs, versions);
        }

        void run() {
            for (int i = 0; i < inputs.length; i++) {
                if (inputs[i] != null && inputs[i].version() != versions[i]) {
                    throw new IllegalArgumentException("backward: " + inputs[i].shape()
                            + " was changed in place after the op that made " + y.shape()
                            + " had used it; its gradient needs the old numbers");
                }
            }
            backward.run();
            if (first) {
                y.releaseGrad();
                y.releaseRemade();
            }
        }
    }

    private List<Node> nodes = new ArrayList<>();
    private int paused = 0;
    private boolean training = true;
    private Compute compute = Compute.F32;
    private int choices = 0;
    private final Rng noise = new Rng(0);

    private Tape() {}

    /** Ends a pause. */
    public interface Pause extends AutoCloseable {
        @Override
        void close();
    }

    /** Ends a choice of precision. */
    public interface Precision extends AutoCloseable {
        @Override
        void close();
    }

    /**
     * Notes that y was computed from {@code inputs}; {@code backward} reads y's gradient and adds to theirs.
     *
     * @param inputs what backward needs, null for what is not there: to add to their gradients, or to read their numbers, which
     *     may then not be changed in place (name y itself if backward reads y's numbers)
     * @return y
     */
    public static Tensor record(Tensor y, Runnable backward, Tensor... inputs) {
        Tape tape = CURRENT.get();
        if (tape.paused == 0 && anyTracked(inputs)) {
            tape.requireTrainable();
            y.track();
            tape.nodes.add(Node.of(y, backward, true, inputs));
        }
        return y;
    }

    /**
     * Notes that y, computed before, was changed in place (y += f(inputs), or an invertible map of y itself); {@code backward} adds to
     * the inputs' gradients, or maps y's gradient in place. Call {@link #requireInPlace} before the change.
     *
     * @return y
     */
    public static Tensor recordInPlace(Tensor y, Runnable backward, Tensor... inputs) {
        Tape tape = CURRENT.get();
        y.changed();
        if (tape.paused == 0 && (y.tracked() || anyTracked(inputs))) {
            tape.requireTrainable();
            boolean first = !y.tracked();
            y.track();
            tape.nodes.add(Node.of(y, backward, first, inputs));
        }
        return y;
    }

    /** Throws unless y may be changed in place: a parameter may not while its gradient is recorded. */
    public static void requireInPlace(String op, Tensor y) {
        if (recording() && y.isParameter()) {
            throw new IllegalArgumentException(
                    op + ": " + y.shape() + " is trained and must not be changed in place while recording");
        }
    }

    private static boolean anyTracked(Tensor... inputs) {
        for (Tensor x : inputs) {
            if (x != null && x.tracked()) {
                return true;
            }
        }
        return false;
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
        int depth = ++paused;
        return () -> {
            if (paused != depth) {
                throw new IllegalStateException("Tape: pauses must be closed once, in reverse order");
            }
            paused--;
            training = before;
        };
    }

    /** The precision of products and attention on this thread. */
    public static Compute compute() {
        return CURRENT.get().compute;
    }

    /**
     * Computes products and attention of this thread in another precision until closed. An op asks once, when it computes its result,
     * and its backward pass has the same one, so that the scope may be closed before {@link #backward}.
     */
    public static Precision compute(Compute compute) {
        return CURRENT.get().choose(compute);
    }

    private Precision choose(Compute wanted) {
        Compute before = compute;
        compute = Objects.requireNonNull(wanted, "compute");
        int depth = ++choices;
        return () -> {
            if (choices != depth) {
                throw new IllegalStateException("Tape: choices of precision must be closed once, in reverse order");
            }
            choices--;
            compute = before;
        };
    }

    private void requireTrainable() {
        if (compute == Compute.INT8) {
            throw new IllegalArgumentException(
                    "INT8 is for using a model: to train it, compute in F32 or BF16; to use it, pause the tape");
        }
    }

    /** The seed of the next dropout mask: the tape owns the noise so that a checkpoint can replay it. */
    public static long nextSeed() {
        return CURRENT.get().noise.nextLong();
    }

    /** The noise that dropout draws from; the Trainer seeds it before each step. */
    public static Rng noise() {
        return CURRENT.get().noise;
    }

    /** Forgets what was recorded: after a forward pass that no backward pass follows, or that failed. */
    public static void clear() {
        CURRENT.get().nodes.clear();
    }

    /** Number of ops recorded on this thread. */
    public static int size() {
        return CURRENT.get().nodes.size();
    }

    /** Forgets all but the first {@code size} ops: what they computed is gone. */
    static void forget(int size) {
        List<Node> nodes = CURRENT.get().nodes;
        if (nodes.size() > size) {
            nodes.subList(size, nodes.size()).clear();
        }
    }

    /**
     * Adds d loss / d x to the gradient of every tracked x that the loss was computed from, and forgets the recording.
     *
     * @param loss one number, computed since the last backward pass
     */
    public static void backward(Tensor loss) {
        Shape.require(loss.size() == 1, "backward", loss, "the loss must be one number");
        Tape tape = CURRENT.get();
        if (!loss.tracked()) {
            tape.nodes.clear();
            throw new IllegalArgumentException("backward: the loss depends on no trained parameter");
        }
        if (!tape.computed(loss)) {
            throw new IllegalArgumentException(
                    "backward: this loss is not on the tape; a second backward pass needs a second forward pass");
        }
        loss.grad().set(new float[] {1f});
        tape.walk();
    }

    private boolean computed(Tensor loss) {
        for (int i = nodes.size() - 1; i >= 0; i--) {
            if (nodes.get(i).y.sameBuffer(loss)) {
                return true;
            }
        }
        return false;
    }

    private void walk() {
        List<Node> walked = nodes;
        nodes = new ArrayList<>();
        try (Pause p = stop(true)) {
            for (int i = walked.size() - 1; i >= 0; i--) {
                Node node = walked.set(i, null);
                if (node.y.hasGrad()) {
                    node.run();
                }
            }
        }
    }

    /**
     * Gives the memory of y back now; the backward pass computes it again where it is needed. For what is large and costs little: a
     * normalised or gated vector, never a product. Selective activation recomputation, Korthikanti et al., arXiv:2205.05198.
     *
     * <p>Nobody but the backward pass may read y afterwards: {@link Tensor#buf} throws then. While nothing is recorded, y stays.
     *
     * @param y a result of this scope, read by what computed {@code last} and by nothing recorded later; not the matrix of a product,
     *     which keeps its memory
     * @param last computed from y
     * @param again gives y's numbers once more, bit for bit
     * @param inputs what {@code again} reads; may not be changed in place until then
     */
    public static void remake(Tensor y, Tensor last, Supplier<Tensor> again, Tensor... inputs) {
        Tape tape = CURRENT.get();
        if (tape.paused > 0) {
            return;
        }
        y.release();
        if (last.tracked()) {
            tape.nodes.add(Node.of(last, () -> y.remade(again.get()), false, inputs));
        }
    }

    /**
     * y = f(x) without keeping what is computed on the way: the backward pass computes it again. Chen et al.,
     * arXiv:1604.06174. Same gradients bit for bit; dropout and precision are replayed.
     *
     * @param f keeps the shape; may use parameters and other tensors, which get their gradients too
     */
    public static Tensor checkpoint(UnaryOperator<Tensor> f, Tensor x) {
        Tape tape = CURRENT.get();
        return tape.paused > 0 ? f.apply(x) : tape.recompute(f, x);
    }

    private Tensor recompute(UnaryOperator<Tensor> f, Tensor x) {
        long seed = noise.state();
        Compute then = compute;
        int version = x.version();
        Tensor y = Tensor.like(x);
        boolean tracked;
        List<Node> outer = nodes;
        nodes = new ArrayList<>();
        try (Memory.Scope scope = Memory.scope()) {
            Tensor inner = f.apply(x);
            Shape.require(inner.shape().equals(x.shape()), "checkpoint", x, inner, "f must keep the shape");
            if (x.version() != version) {
                throw new IllegalArgumentException("checkpoint: f must not change its input in place");
            }
            y.set(inner);
            tracked = inner.tracked();
        } finally {
            nodes = outer;
        }
        if (tracked) {
            y.track();
            nodes.add(Node.of(y, () -> again(f, x, y, seed, then), true, x));
        }
        return y;
    }

    /** Computes f(x) once more as it was computed, recorded, and walks back through it from y's gradient. */
    private void again(UnaryOperator<Tensor> f, Tensor x, Tensor y, long seed, Compute then) {
        List<Node> outer = nodes;
        int outerPause = paused;
        long now = noise.state();
        Tensor start = x.alias();
        try (Memory.Scope scope = Memory.scope();
                Precision precision = choose(then)) {
            nodes = new ArrayList<>();
            paused = 0;
            noise.restore(seed);
            Tensor inner = f.apply(start);
            // Added, since f may give back x or a parameter itself, which has a gradient already.
            Kernels.get().axpy(inner.gradBuf(), y.gradBuf(), 1f, y.size());
            walk();
        } finally {
            nodes = outer;
            paused = outerPause;
            noise.restore(now);
        }
    }
}
