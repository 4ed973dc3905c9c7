package anneal.nn;

import anneal.tensor.Tensor;

/** Keys and values of earlier tokens, by layer, as an attention layer sees them. */
public interface KeyValueCache {
    /** Positions that are filled in every layer. */
    int length();

    /** Positions there is room for. */
    int capacity();

    /** Writes keys and values [B, T, G K] of new tokens behind those that are there. */
    void append(int layer, Tensor keys, Tensor values);

    /** Keys of a layer [B, capacity, G K]. */
    Tensor keys(int layer);

    /** Values of a layer [B, capacity, G K]. */
    Tensor values(int layer);
}
