package anneal.tensor;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * A dense row-major array of 32-bit floats in native memory, with room for its gradient.
 *
 * <p>A tensor does not know operations: {@link Ops} has them, {@link Tape} remembers them. A view shares numbers and gradient with
 * the tensor it was made from.
 */
public final class Tensor {
    /** What views share. */
    private static final class Buffer {
        /** Null while it is given back: see {@link Tape#remake}. */
        MemorySegment data;

        final boolean leaf;
        /** The scope that data and gradient lie in; null for a leaf and for what was made outside any scope. */
        final Memory.Scope owner;
        /** How often the numbers were changed in place: shared by all that share the numbers. */
        final int[] version;

        MemorySegment grad;
        /** The gradient's memory is there, its numbers count as zero. */
        boolean cleared;

        boolean tracked;
        /** The numbers are there for the backward pass alone. */
        boolean remade;

        Buffer(MemorySegment data, boolean leaf, Memory.Scope owner, int[] version) {
            this.data = data;
            this.leaf = leaf;
            this.owner = owner;
            this.version = version;
        }

        static Buffer of(MemorySegment data, boolean leaf) {
            return new Buffer(data, leaf, null, new int[1]);
        }
    }

    private final Shape shape;
    private final Buffer buffer;

    private Tensor(Shape shape, Buffer buffer) {
        this.shape = shape;
        this.buffer = buffer;
    }

    // ---------------------------------------------------------------- making

    /** A tensor of the current scope whose numbers are whatever was in memory: for a result that is about to be written. */
    public static Tensor empty(Shape shape) {
        Memory.Scope owner = Memory.current();
        return new Tensor(shape, new Buffer(Memory.floats(owner, shape.size()), false, owner, new int[1]));
    }

    /** See {@link #empty(Shape)}. */
    public static Tensor empty(int... dims) {
        return empty(Shape.of(dims));
    }

    /** A tensor of the current scope with the shape of x, not initialised. */
    public static Tensor like(Tensor x) {
        return empty(x.shape);
    }

    /** One number for each row of x, not initialised. */
    public static Tensor rows(Tensor x) {
        return empty(Shape.of(x.rowCount()));
    }

    /** Zeros in the current scope. */
    public static Tensor zeros(int... dims) {
        Tensor x = empty(dims);
        x.buffer.data.fill((byte) 0);
        return x;
    }

    /** These numbers in the current scope. */
    public static Tensor of(float[] values, int... dims) {
        Tensor x = empty(dims);
        x.set(values);
        return x;
    }

    /** A tensor that lives in {@code arena}, zero, and may be trained: parameters and what belongs to them. */
    public static Tensor allocate(Arena arena, Shape shape) {
        return new Tensor(shape, Buffer.of(HugePages.allocate(arena, Math.max(4, 4 * shape.size()), 64), true));
    }

    /** A tensor over floats that lie in native memory already, for example in a mapped file; not copied. */
    public static Tensor wrap(MemorySegment floats, Shape shape) {
        if (!floats.isNative() || floats.byteSize() < 4 * shape.size()) {
            throw new ShapeException("wrap: " + shape + " needs a native segment of " + 4 * shape.size()
                    + " bytes, this has " + floats.byteSize());
        }
        return new Tensor(shape, Buffer.of(floats, true));
    }

    /** The same numbers and gradient in another shape of equal size. */
    public Tensor view(int... dims) {
        Shape s = Shape.of(dims);
        if (s.size() != shape.size()) {
            throw new ShapeException("view: " + shape + " does not fit " + s + ": sizes must be equal");
        }
        return new Tensor(s, buffer);
    }

    /** The same numbers, not part of what is differentiated. */
    public Tensor detach() {
        return new Tensor(shape, new Buffer(buf(), false, buffer.owner, buffer.version));
    }

    /** The same numbers as a start of its own for a nested backward pass; what it collects lands in this gradient. */
    Tensor alias() {
        Buffer b = new Buffer(buf(), true, null, buffer.version);
        b.tracked = buffer.tracked;
        b.grad = buffer.tracked ? gradBuf() : null;
        return new Tensor(shape, b);
    }

    // ---------------------------------------------------------------- shape

    /** Dimensions. */
    public Shape shape() {
        return shape;
    }

    /** Dimension i; negative counts from the last. */
    public int dim(int i) {
        return shape.dim(i);
    }

    /** Number of elements. */
    public long size() {
        return shape.size();
    }

    /** The last dimension. */
    public int rowSize() {
        return shape.last();
    }

    /** Product of all dimensions but the last. */
    public int rowCount() {
        return shape.rows();
    }

    // ---------------------------------------------------------------- numbers

    /**
     * The numbers, for kernels.
     *
     * @throws IllegalStateException if their scope is closed, or they were given back: see {@link Tape#remake}
     */
    public MemorySegment buf() {
        requireOpen();
        if (buffer.data == null) {
            throw new IllegalStateException(
                    "the numbers of " + shape + " were given back to memory: nobody was to read them any more");
        }
        return buffer.data;
    }

    private void requireOpen() {
        if (buffer.owner != null && !buffer.owner.isOpen()) {
            throw new IllegalStateException("Memory: this tensor's scope is closed");
        }
    }

    /** A copy of the numbers. */
    public float[] toArray() {
        float[] a = new float[Math.toIntExact(size())];
        MemorySegment.copy(buf(), JAVA_FLOAT, 0, a, 0, a.length);
        return a;
    }

    /** The number of a tensor that has one. */
    public float item() {
        Shape.require(size() == 1, "item", this, "must have one element");
        return buf().get(JAVA_FLOAT, 0);
    }

    /** Element i in row-major order. */
    public float get(long i) {
        return buf().getAtIndex(JAVA_FLOAT, i);
    }

    /** Overwrites all numbers. */
    public void set(float[] values) {
        Shape.require(values.length == size(), "set", this, "needs " + size() + " numbers, got " + values.length);
        MemorySegment.copy(values, 0, buf(), JAVA_FLOAT, 0, values.length);
    }

    /** Overwrites all numbers with those of x, of equal size. */
    public void set(Tensor x) {
        Shape.require(x.size() == size(), "set", this, x, "sizes must be equal");
        MemorySegment.copy(x.buf(), 0, buf(), 0, 4 * size());
    }

    // ---------------------------------------------------------------- gradient

    /** True if a gradient flows to this tensor: it is trained, or computed from what is. */
    public boolean tracked() {
        return buffer.tracked;
    }

    /** Says whether this tensor is trained. Only for tensors that were not computed. */
    public Tensor trainable(boolean on) {
        if (!buffer.leaf) {
            throw new IllegalArgumentException(
                    "trainable: " + shape + " lies in a scope; a parameter must outlive the step, see allocate");
        }
        buffer.tracked = on;
        if (!on) {
            buffer.grad = null;
            buffer.cleared = false;
        }
        return this;
    }

    void track() {
        buffer.tracked = true;
    }

    /** True if both share numbers and gradient. */
    boolean sameBuffer(Tensor x) {
        return buffer == x.buffer;
    }

    /** How often the numbers were changed in place. */
    int version() {
        return buffer.version[0];
    }

    /** Notes that the numbers were changed in place. */
    void changed() {
        buffer.version[0]++;
    }

    /** True for a parameter: changing it in place would be lost on the tape. */
    boolean isParameter() {
        return buffer.leaf && buffer.tracked;
    }

    /** True if something was added to the gradient since it was cleared. */
    public boolean hasGrad() {
        return buffer.grad != null && !buffer.cleared;
    }

    /** The gradient to add to; zeros if nothing was added yet. */
    public MemorySegment gradBuf() {
        boolean zero = !hasGrad();
        MemorySegment grad = gradSlot();
        if (zero) {
            grad.fill((byte) 0);
        }
        return grad;
    }

    /**
     * The gradient for a kernel that can overwrite or add: call {@code boolean add = x.hasGrad()} first and overwrite all of it if
     * that is false. Saves clearing a buffer that is written at once.
     */
    public MemorySegment gradSlot() {
        requireOpen();
        if (buffer.grad == null) {
            buffer.grad = Memory.floats(buffer.owner, size());
        }
        buffer.cleared = false;
        return buffer.grad;
    }

    /** The gradient as a tensor that shares its memory; zeros if nothing was added. */
    public Tensor grad() {
        return new Tensor(shape, Buffer.of(gradBuf(), false));
    }

    /** Takes over the memory of another's gradient, which gives it up: for parameters of one size that are trained in turns. */
    public void inheritGrad(Tensor from) {
        Shape.require(size() == from.size(), "inheritGrad", this, from, "sizes must be equal");
        buffer.grad = from.buffer.grad;
        buffer.cleared = true;
        from.buffer.grad = null;
        from.buffer.cleared = false;
    }

    /** Clears a parameter's gradient for the next step, keeping its memory; {@link #hasGrad} is false until something is added. */
    public void zeroGrad() {
        buffer.cleared = true;
    }

    /** Gives the gradient's memory back: nobody reads it any more. */
    void releaseGrad() {
        if (!buffer.leaf && buffer.grad != null) {
            if (buffer.owner != null) {
                buffer.owner.giveBack(buffer.grad);
            }
            buffer.grad = null;
        }
    }

    /** Gives the memory of the numbers back: nobody reads them any more, or not before they are {@link #remade}. */
    void release() {
        if (buffer.owner != null) {
            buffer.owner.giveBack(buf());
            buffer.data = null;
        }
    }

    /** Has the numbers again that it had before {@link #release}, those of x, whose memory it takes if both lie in one scope. */
    void remade(Tensor x) {
        Shape.require(x.shape.equals(shape), "remake", this, x, "shapes must be equal");
        buffer.remade = true;
        if (x.buffer.owner == buffer.owner) {
            buffer.data = x.buffer.data;
        } else {
            buffer.data = Memory.floats(buffer.owner, size());
            set(x);
        }
    }

    /** Gives back what was made for the backward pass alone, which is through with it. */
    void releaseRemade() {
        if (buffer.remade) {
            release();
        }
    }

    @Override
    public String toString() {
        return "Tensor" + shape + (buffer.tracked ? " tracked" : "");
    }
}
