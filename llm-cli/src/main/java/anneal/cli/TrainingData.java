package anneal.cli;

import anneal.data.Batch;
import anneal.data.Batches;
import anneal.data.Dataset;
import anneal.data.EncodedDataset;
import anneal.data.Sample;
import anneal.text.Tokenizer;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;

/**
 * The batches of a run and a few of its samples.
 *
 * @param train batches by epoch
 * @param valid validation batches, or null
 * @param first samples whose prompts are answered before and after
 */
record TrainingData(Batches train, Batches valid, List<Sample> first) implements RunData<Batch> {
    /** What becomes of samples over --max-seq-length. */
    enum Long {
        REFUSED,
        TRUNCATED,
        CUT_UP
    }

    /** Reads, encodes, holds out and cuts as the flags say. */
    static TrainingData read(
            RunFlags flags, Function<Dataset, EncodedDataset> encode, Long tooLong, int contextLength) {
        RunFlags.Data d = flags.data;
        requireWithin(d, contextLength);
        Dataset source = anneal.data.Jsonl.read(d.train);
        EncodedDataset train = encode.apply(source), valid = null;
        if (d.valid != null) {
            valid = encode.apply(anneal.data.Jsonl.read(d.valid));
        } else if (d.validSplit > 0 && train.size() > 1) {
            EncodedDataset.Split split = train.split(d.validSplit, flags.steps.seed);
            train = split.train();
            valid = split.validation();
        }
        return new TrainingData(
                batches(train, flags, tooLong).shuffled(flags.steps.seed),
                valid == null ? null : batches(valid, flags, tooLong),
                BeforeAfter.choose(source));
    }

    /** Throws if samples could be longer than what the model can read. */
    static void requireWithin(RunFlags.Data d, int contextLength) {
        if (contextLength > 0 && d.maxSeqLength > contextLength) {
            throw new IllegalArgumentException("--max-seq-length " + d.maxSeqLength + " is over the model's limit of "
                    + contextLength + " positions");
        }
    }

    private static Batches batches(EncodedDataset data, RunFlags flags, Long tooLong) {
        int length = flags.data.maxSeqLength;
        EncodedDataset fitting = switch (tooLong) {
            case REFUSED -> data.requireAtMost(length);
            case TRUNCATED -> data.truncate(length);
            case CUT_UP -> data.cut(length);
        };
        return (flags.data.packing ? fitting.pack(length) : fitting.pad()).batches(flags.steps.batchSize);
    }

    @Override
    public int count() {
        return train.count();
    }

    @Override
    public int rowLength() {
        return train.apply(0).next().length();
    }

    @Override
    public void describe(PrintWriter out, Tokenizer tokenizer) {
        out.printf(
                "Data: %,d tokens, %,d of them trained, %,d batches an epoch%s.%n",
                train.tokens(),
                train.trainedTokens(),
                train.count(),
                valid == null ? "" : String.format("; %,d trained tokens held out", valid.trainedTokens()));
        out.println("One sample, what is trained between ‹ and ›:");
        out.println("  " + example(tokenizer).strip().replace("\n", "\n  "));
    }

    /** The first sample with what is trained between ‹ and ›. */
    private String example(Tokenizer tokenizer) {
        Batch batch = train.apply(0).next();
        StringBuilder text = new StringBuilder();
        List<Integer> run = new ArrayList<>();
        boolean trained = false;
        for (int t = 0; t < batch.length() && batch.segments()[t] == 0 && t < 200; t++) {
            boolean now = t > 0 && batch.targets()[t - 1] >= 0;
            if (now != trained) {
                append(text, tokenizer, run, trained);
                trained = now;
            }
            run.add(batch.ids()[t]);
        }
        append(text, tokenizer, run, trained);
        return text.toString();
    }

    private static void append(StringBuilder text, Tokenizer tokenizer, List<Integer> run, boolean trained) {
        if (!run.isEmpty()) {
            String part =
                    tokenizer.decode(run.stream().mapToInt(Integer::intValue).toArray(), false);
            text.append(trained ? "‹" + part + "›" : part);
            run.clear();
        }
    }
}
