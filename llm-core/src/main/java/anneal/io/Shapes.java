package anneal.io;

import anneal.tensor.DType;
import java.util.Arrays;
import java.util.regex.Pattern;

/** Sizes of tensors in files, where every number may be a lie. */
final class Shapes {
    private static final Pattern CONTROLS = Pattern.compile("[\\p{Cntrl}\\p{Zl}\\p{Zp}\\x{85}]");

    private Shapes() {}

    /** Number of elements; rejects negative sizes and products beyond 63 bits. */
    static long count(String name, long[] shape) {
        long n = 1;
        boolean empty = false;
        for (long size : shape) {
            if (size < 0) {
                throw new IllegalArgumentException(
                        "tensor \"" + name + "\": shape " + Arrays.toString(shape) + " has a negative size");
            }
            empty |= size == 0;
        }
        if (empty) {
            return 0;
        }
        for (long size : shape) {
            if (size > Long.MAX_VALUE / n) {
                throw new IllegalArgumentException(
                        "tensor \"" + name + "\": shape " + Arrays.toString(shape) + " has more than 2^63 elements");
            }
            n *= size;
        }
        return n;
    }

    /** Bytes of a tensor; a row of a block type must be whole blocks. */
    static long bytes(String name, DType dtype, long[] shape) {
        long count = count(name, shape);
        long row = shape.length == 0 ? 1 : shape[shape.length - 1];
        if (row % dtype.blockSize() != 0) {
            throw new IllegalArgumentException("tensor \"" + name + "\": last dim of " + Arrays.toString(shape)
                    + " is no multiple of " + dtype.blockSize() + ", the block of " + dtype);
        }
        long blocks = count / dtype.blockSize();
        if (blocks > Long.MAX_VALUE / dtype.blockBytes()) {
            throw new IllegalArgumentException(
                    "tensor \"" + name + "\": " + dtype + " " + Arrays.toString(shape) + " has more than 2^63 bytes");
        }
        return blocks * dtype.blockBytes();
    }

    /** A text from a file, short enough for a message and on one line. */
    static String shorten(String text) {
        String start = text.length() <= 100 ? text : text.substring(0, 97) + "...";
        return CONTROLS.matcher(start).replaceAll("?");
    }
}
