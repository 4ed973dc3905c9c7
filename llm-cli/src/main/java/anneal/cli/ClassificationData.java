package anneal.cli;

import anneal.data.LabelledBatch;
import anneal.data.LabelledDataset;
import anneal.data.LabelledText;
import anneal.data.Sample;
import anneal.text.Tokenizer;
import java.io.PrintWriter;
import java.util.Iterator;
import java.util.List;
import java.util.function.IntFunction;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * Texts with labels, for a classifier.
 *
 * @param labels names, by number
 * @param learnt what is trained on
 * @param held what is held out, or null
 * @param padding id that fills rows up
 */
record ClassificationData(
        List<String> labels, LabelledDataset learnt, LabelledDataset held, int padding, RunFlags.Steps steps)
        implements RunData<LabelledBatch> {

    /** Reads, encodes, cuts and holds out as the flags say; the labels are those of the training data. */
    static ClassificationData read(RunFlags flags, Tokenizer tokenizer, int padding) {
        RunFlags.Data d = flags.data;
        List<LabelledText> texts = LabelledText.read(d.train);
        List<String> labels = LabelledText.labels(texts);
        if (labels.size() < 2) {
            throw new IllegalArgumentException(d.train + ": every text has the label \"" + labels.getFirst()
                    + "\"; a classifier needs at least two");
        }
        LabelledDataset train = fitting(texts, labels, tokenizer, d), held = null;
        if (d.valid != null) {
            held = fitting(LabelledText.read(d.valid), labels, tokenizer, d);
        } else if (d.validSplit > 0) {
            LabelledDataset.Split split = train.split(d.validSplit, flags.steps.seed);
            train = split.train();
            held = split.validation();
        }
        return new ClassificationData(labels, train, held, padding, flags.steps);
    }

    /** Encoded texts of which none is too long. */
    static LabelledDataset fitting(
            List<LabelledText> texts, List<String> labels, Tokenizer tokenizer, RunFlags.Data d) {
        LabelledDataset encoded = LabelledDataset.of(texts, labels, tokenizer);
        return d.truncate ? encoded.truncate(d.maxSeqLength) : encoded.requireAtMost(d.maxSeqLength);
    }

    /** What a trained classifier is judged by: what was held out, or what it has learnt if nothing was. */
    Iterator<LabelledBatch> judged() {
        return (held == null ? learnt : held).batches(steps.batchSize, padding).apply(0);
    }

    @Override
    public IntFunction<Iterator<LabelledBatch>> train() {
        return learnt.shuffled(steps.batchSize, padding, steps.seed);
    }

    @Override
    public IntFunction<Iterator<LabelledBatch>> valid() {
        return held == null ? null : held.batches(steps.batchSize, padding);
    }

    @Override
    public int count() {
        return Math.ceilDiv(learnt.size(), steps.batchSize);
    }

    @Override
    public int rowLength() {
        return train().apply(0).next().length();
    }

    @Override
    public List<Sample> first() {
        return List.of();
    }

    @Override
    public void describe(PrintWriter out, Tokenizer tokenizer) {
        String counts = IntStream.range(0, labels.size())
                .mapToObj(i -> String.format("%s %,d", labels.get(i), learnt.count(i)))
                .collect(Collectors.joining(", "));
        out.printf(
                "Data: %,d texts (%s), %,d tokens, %,d batches an epoch%s.%n",
                learnt.size(),
                counts,
                learnt.tokens(),
                count(),
                held == null ? "" : String.format("; %,d texts held out", held.size()));
        LabelledBatch batch = train().apply(0).next();
        int[] row = IntStream.range(0, batch.length())
                .map(t -> batch.ids()[t])
                .filter(id -> id != padding)
                .toArray();
        out.println("One sample and its label:");
        out.println("  " + BeforeAfter.oneLine(tokenizer.decode(row, false)) + " -> " + labels.get(batch.labels()[0]));
    }
}
