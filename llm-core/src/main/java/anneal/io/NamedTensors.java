package anneal.io;

import anneal.tensor.DType;
import anneal.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** Tensors in memory, by name, to and from files that must hold exactly them. */
public final class NamedTensors {
    private NamedTensors() {}

    /** What a file of these tensors holds, under {@code prefix} + name: F32, in place, nothing copied. */
    public static List<StoredTensor> stored(Map<String, Tensor> tensors, String prefix) {
        List<StoredTensor> all = new ArrayList<>();
        tensors.forEach((name, t) -> all.add(
                new StoredTensor(prefix + name, DType.F32, dims(t), t.buf().asSlice(0, 4 * t.size()))));
        return all;
    }

    /**
     * Copies the bytes of a file's tensors into those in memory. Nothing is changed unless all fit in type and shape.
     *
     * @param where begins the message: a file
     * @throws IllegalArgumentException naming every tensor that is missing, of another type or shape, or too much
     */
    public static void copy(Map<String, StoredTensor> to, Map<String, StoredTensor> file, String where) {
        List<String> wrong = new ArrayList<>();
        to.forEach((name, t) -> {
            StoredTensor from = file.get(name);
            if (from == null) {
                wrong.add(name + " " + Arrays.toString(t.shape()) + " is missing");
            } else if (from.dtype() != t.dtype() || !Arrays.equals(from.shape(), t.shape())) {
                wrong.add(name + " is " + from.dtype() + " " + Arrays.toString(from.shape()) + ", must be " + t.dtype()
                        + " " + Arrays.toString(t.shape()));
            }
        });
        file.forEach((name, from) -> {
            if (!to.containsKey(name)) {
                wrong.add(name + " " + Arrays.toString(from.shape()) + " has no place");
            }
        });
        requireNone(wrong, where);
        to.forEach((name, t) -> t.data().copyFrom(file.get(name).data()));
    }

    private static void requireNone(List<String> wrong, String where) {
        if (!wrong.isEmpty()) {
            throw new IllegalArgumentException(where + " does not fit, " + wrong.size()
                    + (wrong.size() == 1 ? " tensor: " : " tensors: ")
                    + String.join("; ", wrong));
        }
    }

    /**
     * Copies the tensors of a file into those in memory, widening shorter floats. Nothing is changed unless all fit.
     *
     * @param where begins the message: a file
     * @throws IllegalArgumentException naming every tensor that is missing, of another shape, no real numbers, or too much
     */
    public static void fill(Map<String, Tensor> tensors, String prefix, Map<String, StoredTensor> file, String where) {
        List<String> wrong = new ArrayList<>();
        tensors.forEach((name, t) -> {
            StoredTensor from = file.get(prefix + name);
            if (from == null) {
                wrong.add(prefix + name + " " + t.shape() + " is missing");
            } else if (!Arrays.equals(from.shape(), dims(t))) {
                wrong.add(prefix + name + " is " + Arrays.toString(from.shape()) + ", must be " + t.shape());
            } else if (!from.dtype().isReal()) {
                wrong.add(prefix + name + " holds " + from.dtype() + ", not real numbers");
            }
        });
        file.forEach((name, from) -> {
            if (!name.startsWith(prefix) || !tensors.containsKey(name.substring(prefix.length()))) {
                wrong.add(name + " " + Arrays.toString(from.shape()) + " has no place");
            }
        });
        requireNone(wrong, where);
        tensors.forEach((name, t) -> t.set(file.get(prefix + name).floats()));
    }

    private static long[] dims(Tensor t) {
        return Arrays.stream(t.shape().dims()).asLongStream().toArray();
    }
}
