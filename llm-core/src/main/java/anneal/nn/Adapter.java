package anneal.nn;

import anneal.tensor.Tensor;

/** What a fine-tuning method adds to a linear layer: it sees input and layer and gives the output. */
@FunctionalInterface
public interface Adapter {
    /** The layer as it is. */
    Adapter NONE = (x, base) -> base.plain(x);

    /** The adapted output. Shapes: x [.., in] -> [.., out]. A fresh adapter gives {@code base.plain(x)}. */
    Tensor apply(Tensor x, Linear base);
}
