package anneal.distill;

import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import anneal.data.Batch;
import anneal.io.Safetensors;
import anneal.io.SafetensorsWriter;
import anneal.io.StoredTensor;
import anneal.model.CausalLm;
import anneal.tensor.DType;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;

/**
 * What a teacher says about some data, on disk: for each trained position the k most probable tokens with their log-probabilities at one
 * temperature. The teacher runs once and need not be there when the student trains.
 *
 * <p>The file is safetensors: {@code keys} I64 [rows] and {@code starts} I64 [rows + 1] find the positions of a row of a batch,
 * {@code ids} I32 and {@code log_probs} F32 [positions, k] are what was said. A row is known by a hash of its tokens and targets, so
 * batches may be shuffled and padded differently later.
 */
public final class TeacherLogits {
    /** The k tokens of each of some positions, row-major [positions * k]. */
    record Top(int[] ids, float[] logProbs) {}

    private final Path file;
    private final double temperature;
    private final int k;
    private final Map<Long, int[]> ranges = new HashMap<>();
    private final int[] ids;
    private final float[] logProbs;

    private TeacherLogits(Path file, Arena arena) {
        this.file = file;
        Safetensors t = Safetensors.open(file, arena);
        temperature = t.get("temperature").floats()[0];
        k = (int) t.get("ids").shape()[1];
        ids = t.get("ids").ints();
        logProbs = t.get("log_probs").floats();
        long[] keys = t.get("keys").longs();
        int[] starts = t.get("starts").ints();
        for (int i = 0; i < keys.length; i++) {
            ranges.put(keys[i], new int[] {starts[i], starts[i + 1]});
        }
    }

    /** Opens a file of teacher's logits. */
    public static TeacherLogits open(Path file) {
        try (Arena arena = Arena.ofShared()) {
            return new TeacherLogits(file, arena);
        }
    }

    /**
     * Runs a teacher over batches and writes what it says.
     *
     * @param k tokens that are kept of each position
     * @param temperature of the softmax; the student must train with the same
     */
    public static void write(Path file, CausalLm teacher, Iterator<Batch> batches, int k, double temperature) {
        if (k < 1 || k > teacher.vocabSize()) {
            throw new IllegalArgumentException(
                    "TeacherLogits: k " + k + " must be in [1, " + teacher.vocabSize() + "]");
        }
        new SoftTargets(0, temperature, false); // the temperature's rule stands there
        Map<Long, Top> rows = new LinkedHashMap<>();
        try (Tape.Pause pause = Tape.pause()) {
            while (batches.hasNext()) {
                Batch batch = batches.next();
                try (Memory.Scope scope = Memory.scope()) {
                    Trained trained = Trained.of(batch);
                    Tensor logits = teacher.logits(trained.rows(teacher.hidden(trained.tokens(), null)));
                    Tensor logP = Ops.logSoftmax(Ops.scale(logits, (float) (1 / temperature)));
                    int at = 0;
                    for (int row = 0; row < batch.batch(); row++) {
                        int n = count(batch, row);
                        if (n > 0) {
                            rows.put(key(batch, row), top(logP, at, n, k));
                        }
                        at += n;
                    }
                }
            }
        }
        save(file, rows, k, temperature);
    }

    private static Top top(Tensor logP, int from, int count, int k) {
        int[] ids = new int[count * k];
        float[] values = new float[count * k];
        int dim = logP.rowSize();
        for (int i = 0; i < count; i++) {
            long at = (long) (from + i) * dim;
            Comparator<Integer> better = Comparator.comparingDouble(id -> logP.get(at + id));
            PriorityQueue<Integer> best = new PriorityQueue<>(k, better.thenComparing(Comparator.reverseOrder()));
            for (int id = 0; id < dim; id++) {
                if (best.size() < k) {
                    best.add(id);
                } else if (logP.get(at + id) > logP.get(at + best.element())) {
                    best.remove();
                    best.add(id);
                }
            }
            for (int j = k - 1; j >= 0; j--) {
                int id = best.remove();
                ids[i * k + j] = id;
                values[i * k + j] = logP.get(at + id);
            }
        }
        return new Top(ids, values);
    }

    private static void save(Path file, Map<Long, Top> rows, int k, double temperature) {
        if (rows.isEmpty()) {
            throw new IllegalArgumentException("TeacherLogits: the data hold no position to learn");
        }
        long[] starts = new long[rows.size() + 1];
        int row = 0;
        for (Top top : rows.values()) {
            starts[row + 1] = starts[row] + top.ids.length / k;
            row++;
        }
        int positions = Math.toIntExact(starts[row]);
        int[] ids = new int[positions * k];
        float[] values = new float[positions * k];
        int at = 0;
        for (Top top : rows.values()) {
            System.arraycopy(top.ids, 0, ids, at, top.ids.length);
            System.arraycopy(top.logProbs, 0, values, at, top.ids.length);
            at += top.ids.length;
        }
        List<StoredTensor> tensors = new ArrayList<>(List.of(
                longs("keys", rows.keySet().stream().mapToLong(key -> key).toArray()),
                longs("starts", starts),
                StoredTensor.of("ids", ids, positions, k),
                StoredTensor.of("log_probs", values, positions, k),
                StoredTensor.of("temperature", new float[] {(float) temperature}, 1)));
        new SafetensorsWriter().write(file, tensors);
    }

    private static StoredTensor longs(String name, long[] values) {
        MemorySegment bytes = MemorySegment.ofArray(new byte[8 * values.length]);
        for (int i = 0; i < values.length; i++) {
            bytes.set(JAVA_LONG_UNALIGNED.withOrder(java.nio.ByteOrder.LITTLE_ENDIAN), 8L * i, values[i]);
        }
        return new StoredTensor(name, DType.I64, new long[] {values.length}, bytes);
    }

    private static int count(Batch batch, int row) {
        int from = row * batch.length();
        return (int) Arrays.stream(batch.targets(), from, from + batch.length())
                .filter(t -> t >= 0)
                .count();
    }

    /** FNV-1a of tokens and targets up to the last target. */
    private static long key(Batch batch, int row) {
        int from = row * batch.length(), last = from + batch.length() - 1;
        while (last >= from && batch.targets()[last] < 0) {
            last--;
        }
        long hash = 0xcbf29ce484222325L;
        for (int i = from; i <= last; i++) {
            hash = (hash ^ batch.ids()[i]) * 0x100000001b3L;
            hash = (hash ^ batch.targets()[i]) * 0x100000001b3L;
        }
        return hash;
    }

    /** The temperature of the log-probabilities. */
    public double temperature() {
        return temperature;
    }

    /** Tokens that are kept of each position. */
    public int k() {
        return k;
    }

    /** The largest token of which anything was said. */
    int largestId() {
        return Arrays.stream(ids).max().orElse(0);
    }

    /** What the teacher said at the trained positions of a batch. */
    Top of(Batch batch) {
        int positions = batch.trainedTokens(), at = 0;
        Top top = new Top(new int[positions * k], new float[positions * k]);
        for (int row = 0; row < batch.batch(); row++) {
            int n = count(batch, row) * k;
            int[] range = n == 0 ? new int[2] : ranges.get(key(batch, row));
            if (range == null || (range[1] - range[0]) * k != n) {
                throw new IllegalArgumentException(
                        file + " holds nothing that the teacher said about row " + row + " of " + batch);
            }
            System.arraycopy(ids, range[0] * k, top.ids, at, n);
            System.arraycopy(logProbs, range[0] * k, top.logProbs, at, n);
            at += n;
        }
        return top;
    }
}
