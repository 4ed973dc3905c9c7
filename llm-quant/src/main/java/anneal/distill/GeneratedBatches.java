package anneal.distill;

import anneal.data.Batch;
import anneal.generate.Generation;
import anneal.generate.Generator;
import anneal.generate.Sampling;
import anneal.tensor.Rng;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.function.IntFunction;

/**
 * Batches whose answers a model has written instead of those of the data.
 *
 * <ul>
 *   <li>Written by the teacher, learnt with {@code labels}: sequence-level distillation. Kim and Rush, arXiv:1606.07947.
 *   <li>Written by the student as it is now, scored by the teacher with {@code soft}: on-policy distillation, GKD. Agarwal et al.,
 *       arXiv:2306.13649. The student learns from its own mistakes.
 * </ul>
 *
 * <p>The prompt of a row is what stands before its first target; rows must be one sample each, not packed. What is written depends on
 * (seed, epoch, batch) and the writer's weights, so a resumed run goes on alike.
 *
 * @param data the batches of each epoch
 * @param writer what writes on
 * @param sampling how; its seed is the seed
 * @param share of the batches that are written anew, in [0, 1]: GKD's lambda
 */
public record GeneratedBatches(
        IntFunction<? extends Iterator<? extends Batch>> data, Generator writer, Sampling sampling, double share)
        implements IntFunction<Iterator<Batch>> {
    public GeneratedBatches {
        if (!(share >= 0 && share <= 1)) {
            throw new IllegalArgumentException("GeneratedBatches: share " + share + " must be in [0, 1]");
        }
    }

    @Override
    public Iterator<Batch> apply(int epoch) {
        Iterator<? extends Batch> own = data.apply(epoch);
        Rng rng = new Rng(sampling.seed()).fork(epoch);
        return new Iterator<>() {
            private int number = 0;

            @Override
            public boolean hasNext() {
                return own.hasNext();
            }

            @Override
            public Batch next() {
                Batch batch = own.next();
                Rng noise = rng.fork(number++);
                return noise.nextDouble() < share ? written(batch, noise.nextLong()) : batch;
            }
        };
    }

    private Batch written(Batch batch, long seed) {
        List<int[]> prompts = new ArrayList<>();
        for (int row = 0; row < batch.batch(); row++) {
            prompts.add(prompt(batch, row));
        }
        List<Generation> answers = writer.generate(prompts, sampling.withSeed(seed));
        int longest = 1;
        for (int row = 0; row < prompts.size(); row++) {
            longest =
                    Math.max(longest, prompts.get(row).length + answers.get(row).tokens().length - 1);
        }
        int n = batch.batch() * longest;
        int[] ids = new int[n], targets = new int[n], segments = new int[n], positions = new int[n];
        Arrays.fill(targets, -1);
        Arrays.fill(segments, -1);
        for (int row = 0; row < prompts.size(); row++) {
            int[] prompt = prompts.get(row), answer = answers.get(row).tokens();
            int at = row * longest;
            for (int i = 0; i < prompt.length + answer.length - 1; i++) {
                ids[at + i] = i < prompt.length ? prompt[i] : answer[i - prompt.length];
                targets[at + i] = i >= prompt.length - 1 ? answer[i + 1 - prompt.length] : -1;
                segments[at + i] = 0;
                positions[at + i] = i;
            }
        }
        return new Batch(ids, targets, segments, positions, batch.batch(), longest, batch.names());
    }

    /** The tokens up to and with the one at which the first target is learnt. */
    private static int[] prompt(Batch batch, int row) {
        int from = row * batch.length();
        for (int i = 0; i < batch.length(); i++) {
            if (batch.segments()[from + i] > 0) {
                throw new IllegalArgumentException("GeneratedBatches: row " + row + " of " + batch + " is packed");
            }
            if (batch.targets()[from + i] >= 0) {
                return Arrays.copyOfRange(batch.ids(), from, from + i + 1);
            }
        }
        throw new IllegalArgumentException(
                "GeneratedBatches: row " + row + " of " + batch + " has no answer to replace");
    }
}
