package anneal.data;

import anneal.tensor.Rng;
import anneal.text.Tokenizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.function.IntFunction;
import java.util.stream.IntStream;

/** Texts as tokens, each with the number of its label; held in memory as a whole. Immutable: each setting gives a new one. */
public final class LabelledDataset {
    private final List<String> names;
    private final List<int[]> texts;
    private final int[] labels;

    private LabelledDataset(List<String> names, List<int[]> texts, int[] labels) {
        this.names = names;
        this.texts = texts;
        this.labels = labels;
    }

    /**
     * Encodes texts with what the tokenizer adds to a document.
     *
     * @param known labels by number
     * @throws IllegalArgumentException naming the sample, if its label is none of {@code known}
     */
    public static LabelledDataset of(List<LabelledText> samples, List<String> known, Tokenizer tokenizer) {
        int[] labels = new int[samples.size()];
        List<int[]> texts = new ArrayList<>();
        for (int i = 0; i < labels.length; i++) {
            LabelledText s = samples.get(i);
            labels[i] = known.indexOf(s.label());
            if (labels[i] < 0) {
                throw new IllegalArgumentException(s.name() + ": the label \"" + s.label() + "\" is unknown; there are "
                        + String.join(", ", known));
            }
            texts.add(tokenizer.encode(s.text(), Tokenizer.Options.DOCUMENT).ids());
        }
        return new LabelledDataset(samples.stream().map(LabelledText::name).toList(), texts, labels);
    }

    /** Number of texts. */
    public int size() {
        return labels.length;
    }

    /** Number of tokens. */
    public long tokens() {
        return texts.stream().mapToLong(t -> t.length).sum();
    }

    /** How many texts have this label. */
    public long count(int label) {
        return Arrays.stream(labels).filter(l -> l == label).count();
    }

    /** The same if no text has more tokens; else an error that names the first one that has. */
    public LabelledDataset requireAtMost(int length) {
        for (int i = 0; i < size(); i++) {
            if (texts.get(i).length > length) {
                throw new IllegalArgumentException(names.get(i) + ": has " + texts.get(i).length
                        + " tokens, more than the maximum length " + length + "; truncate long texts");
            }
        }
        return this;
    }

    /** Only the first {@code length} tokens of each text. */
    public LabelledDataset truncate(int length) {
        return new LabelledDataset(
                names,
                texts.stream()
                        .map(t -> t.length > length ? Arrays.copyOf(t, length) : t)
                        .toList(),
                labels);
    }

    /** A training and a validation part. */
    public record Split(LabelledDataset train, LabelledDataset validation) {}

    /**
     * A random part of the texts for validation; which depends on the seed and the number of texts only.
     *
     * @param fraction in (0, 1); at least one text stands on each side
     */
    public Split split(double fraction, long seed) {
        if (!(fraction > 0 && fraction < 1) || size() < 2) {
            throw new IllegalArgumentException("split: fraction " + fraction + " of " + size()
                    + " texts must be between 0 and 1 and leave a text on each side");
        }
        int held = (int) Math.clamp(Math.round(size() * fraction), 1, size() - 1);
        int[] order = IntStream.range(0, size()).toArray();
        new Rng(seed).shuffle(order);
        return new Split(subset(Arrays.copyOfRange(order, held, size())), subset(Arrays.copyOfRange(order, 0, held)));
    }

    private LabelledDataset subset(int[] which) {
        Arrays.sort(which);
        return new LabelledDataset(
                Arrays.stream(which).mapToObj(names::get).toList(),
                Arrays.stream(which).mapToObj(texts::get).toList(),
                Arrays.stream(which).map(i -> labels[i]).toArray());
    }

    /**
     * The batches of each epoch, rows filled up behind to the longest of their batch.
     *
     * @param rows in a batch; the last one may have fewer
     * @param padding id that fills up
     */
    public IntFunction<Iterator<LabelledBatch>> batches(int rows, int padding) {
        return _ -> batches(IntStream.range(0, size()).toArray(), rows, padding);
    }

    /** The same in an order that differs from epoch to epoch. */
    public IntFunction<Iterator<LabelledBatch>> shuffled(int rows, int padding, long seed) {
        return epoch -> {
            int[] order = IntStream.range(0, size()).toArray();
            new Rng(seed).fork(epoch).shuffle(order);
            return batches(order, rows, padding);
        };
    }

    private Iterator<LabelledBatch> batches(int[] order, int rows, int padding) {
        if (rows < 1) {
            throw new IllegalArgumentException("batches: batch size " + rows + " must be positive");
        }
        return IntStream.iterate(0, at -> at < order.length, at -> at + rows)
                .mapToObj(at -> {
                    int[] which = Arrays.copyOfRange(order, at, Math.min(order.length, at + rows));
                    return LabelledBatch.of(
                            Arrays.stream(which).mapToObj(texts::get).toList(),
                            Arrays.stream(which).map(i -> labels[i]).toArray(),
                            padding);
                })
                .iterator();
    }
}
