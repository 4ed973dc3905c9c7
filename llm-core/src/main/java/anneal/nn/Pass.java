package anneal.nn;

import anneal.tensor.Tensor;

/**
 * What all layers share in one pass over B rows of T tokens.
 *
 * @param batch B
 * @param length T
 * @param angles of each token for rotary models, else null
 * @param querySegments segment of each token [B * T], or null; -1 = padding
 * @param keySegments segment of each key [B * (keys before + T)], or null together with querySegments
 * @param cache where keys and values of earlier tokens are and those of these go, or null
 */
public record Pass(
        int batch, int length, Rope.Angles angles, int[] querySegments, int[] keySegments, KeyValueCache cache) {
    /** Keys that the cache holds already. */
    int past() {
        return cache == null ? 0 : cache.length();
    }

    Tensor shape(Tensor x, int width) {
        return x.view(batch, length, width);
    }
}
