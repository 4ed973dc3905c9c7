package anneal;

import anneal.data.LabelledBatch;
import anneal.model.SequenceClassifier;
import anneal.model.Tokens;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import anneal.train.Loss;
import anneal.train.Objective;
import java.util.Iterator;
import java.util.List;
import java.util.Map;

/**
 * Learning to tell labels apart.
 *
 * <pre>
 * loss = sum over texts of -log p(label | text)          p = softmax(logits)
 * </pre>
 *
 * <p>The mean that is reported is over texts: transformers' cross entropy for single-label classification.
 */
public final class Classification implements Objective<LabelledBatch> {
    private final SequenceClassifier model;

    /** For this classifier, with or without adapters. */
    public Classification(SequenceClassifier model) {
        this.model = model;
    }

    @Override
    public Loss apply(LabelledBatch batch) {
        Tensor nll = model.nll(tokens(batch), batch.labels());
        return new Loss(Ops.sum(nll), batch.batch(), Map.of(Loss.TOKENS, (double) batch.ids().length));
    }

    /** What the classifier says to texts whose labels are known. */
    public Confusion evaluate(Iterator<LabelledBatch> batches, List<String> names) {
        long[][] counts = new long[model.labels()][model.labels()];
        try (var _ = Tape.pause()) {
            while (batches.hasNext()) {
                LabelledBatch batch = batches.next();
                try (var _ = Memory.scope()) {
                    int[] said = model.predict(tokens(batch));
                    for (int i = 0; i < said.length; i++) {
                        counts[batch.labels()[i]][said[i]]++;
                    }
                }
            }
        }
        return new Confusion(names, counts);
    }

    private static Tokens tokens(LabelledBatch batch) {
        return Tokens.of(batch.ids(), batch.batch(), batch.length());
    }
}
