package anneal.io;

import anneal.tensor.DType;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** The numbers of tensors into a channel, converted on the way, through one small buffer. */
final class TensorStream {
    /** A multiple of every block. */
    private static final int CHUNK = 1 << 18;

    private final FileChannel channel;
    private final ByteBuffer buffer = ByteBuffer.allocateDirect(CHUNK * 4);
    private final MemorySegment staging = MemorySegment.ofBuffer(buffer);
    private final float[] floats = new float[CHUNK];

    TensorStream(FileChannel channel) {
        this.channel = channel;
    }

    /** Writes all numbers of {@code entry} as {@code target}. */
    void write(TensorEntry entry, DType target) throws IOException {
        long[] shape = entry.shape();
        MemorySegment data = entry.data();
        long bytes = Shapes.bytes(entry.name(), entry.dtype(), shape);
        if (data.byteSize() != bytes) {
            throw new IllegalArgumentException("tensor \"" + entry.name() + "\": " + entry.dtype() + " "
                    + Arrays.toString(shape) + " takes " + bytes + " bytes, but has " + data.byteSize());
        }
        if (entry.dtype() == target) {
            copy(data);
        } else {
            convert(entry, data, Shapes.count(entry.name(), shape), target);
        }
    }

    private void copy(MemorySegment data) throws IOException {
        for (long at = 0; at < data.byteSize(); at += buffer.capacity()) {
            int bytes = (int) Math.min(buffer.capacity(), data.byteSize() - at);
            MemorySegment.copy(data, at, staging, 0, bytes);
            flush(bytes);
        }
    }

    private void convert(TensorEntry entry, MemorySegment data, long count, DType target) throws IOException {
        for (long at = 0; at < count; at += CHUNK) {
            int n = (int) Math.min(CHUNK, count - at);
            Convert.toFloats(data, entry.dtype(), at, floats, n);
            int lost = entry.dtype() == DType.F64 ? Convert.beyondFloat(data, at, floats, n) : -1;
            if (lost < 0) {
                lost = Convert.fromFloats(floats, n, target, staging);
            }
            if (lost >= 0) {
                throw new IllegalArgumentException("tensor \"" + entry.name() + "\": " + floats[lost] + " at index "
                        + (at + lost) + " cannot be stored as " + target);
            }
            flush((int) target.bytes(n));
        }
    }

    private void flush(int bytes) throws IOException {
        AtomicFile.writeFully(channel, buffer.clear().limit(bytes));
        buffer.clear();
    }

    /** Zeros up to the next multiple of {@code alignment}. */
    void pad(int alignment) throws IOException {
        long over = channel.position() % alignment;
        if (over != 0) {
            AtomicFile.writeFully(channel, ByteBuffer.allocate((int) (alignment - over)));
        }
    }

    static void requireUnique(List<? extends TensorEntry> entries) {
        Set<String> names = new HashSet<>();
        for (TensorEntry entry : entries) {
            if (!names.add(entry.name())) {
                throw new IllegalArgumentException("tensor \"" + entry.name() + "\" is to be written twice");
            }
        }
    }
}
