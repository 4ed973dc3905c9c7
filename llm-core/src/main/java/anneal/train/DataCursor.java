package anneal.train;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.function.IntFunction;

/**
 * The data of a run as one stream: epoch after epoch, taken in steps of a few batches that never span two epochs, with a position
 * that can be saved and found again.
 */
final class DataCursor<B> implements AutoCloseable {
    /** Batches taken from an epoch. */
    record Position(int epoch, long batch) {
        static final Position START = new Position(0, 0);
    }

    private final IntFunction<? extends Iterator<? extends B>> epochs;
    private Iterator<? extends B> batches;
    private int epoch;
    private long batch;

    /** Goes to a position, taking what comes before it from the data unseen. */
    DataCursor(IntFunction<? extends Iterator<? extends B>> epochs, Position from) {
        this.epochs = epochs;
        open(from.epoch);
        for (; batch < from.batch; batch++) {
            if (!batches.hasNext()) {
                throw new IllegalArgumentException("resume: the checkpoint stands after batch " + from.batch
                        + " of epoch " + epoch + ", but that epoch has only " + batch + ": the data has changed");
            }
            batches.next();
        }
    }

    private void open(int which) {
        close();
        epoch = which;
        batch = 0;
        batches = epochs.apply(which);
    }

    /** The next 1 to {@code most} batches, all of one epoch. */
    List<B> next(int most) {
        if (!batches.hasNext()) {
            open(epoch + 1);
        }
        List<B> taken = new ArrayList<>();
        while (taken.size() < most && batches.hasNext()) {
            taken.add(batches.next());
        }
        if (taken.isEmpty()) {
            throw new IllegalArgumentException("fit: the data set is empty: epoch " + epoch + " has no batch");
        }
        batch += taken.size();
        return taken;
    }

    Position position() {
        return new Position(epoch, batch);
    }

    /** Steps that some epochs make, found by reading them. */
    static long steps(IntFunction<? extends Iterator<?>> epochs, int count, int accumulate) {
        long steps = 0;
        for (int e = 0; e < count; e++) {
            long batches = 0;
            Iterator<?> it = epochs.apply(e);
            for (; it.hasNext(); it.next()) {
                batches++;
            }
            release(it);
            steps += (batches + accumulate - 1) / accumulate;
        }
        return steps;
    }

    /** Lets go of an iterator that holds a file. */
    @Override
    public void close() {
        release(batches);
    }

    static void release(Iterator<?> batches) {
        if (batches instanceof AutoCloseable open) {
            try {
                open.close();
            } catch (Exception e) {
                throw new IllegalStateException("the data cannot be closed: " + e.getMessage(), e);
            }
        }
    }
}
