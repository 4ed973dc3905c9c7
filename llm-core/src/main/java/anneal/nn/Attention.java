package anneal.nn;

import anneal.tensor.DistillOps;
import anneal.tensor.Ops;
import anneal.tensor.ShapeException;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.util.function.Consumer;

/**
 * Multi-head attention with grouped keys: out(softmax(scale q kT, masked) v). Vaswani et al., arXiv:1706.03762; Ainslie et
 * al., arXiv:2305.13245.
 *
 * <p>Shapes: [B, T, D] -> [B, T, D], with queries [B, T, H K], keys and values [B, T, G K]. Query, key and value are three
 * projections or one packed one. Sockets: a key/value prefix, and a watcher that sees queries and keys.
 */
public final class Attention extends SubLayer {
    /**
     * Sizes and options of a layer.
     *
     * @param layer its number, by which a cache knows it
     * @param heads H
     * @param kvHeads G
     * @param headDim K
     * @param scale of q kT, usually 1 / sqrt(K)
     * @param window a query sees only this many keys, itself included; 0 = all
     * @param slopes ALiBi slopes [H], or null
     * @param dropout probability that a weight is dropped while training
     * @param outputDropout probability that an output is dropped while training
     */
    public record Options(
            int layer,
            int heads,
            int kvHeads,
            int headDim,
            float scale,
            int window,
            float[] slopes,
            float dropout,
            float outputDropout) {}

    /** Queries, keys and values of a layer's input. */
    public sealed interface Projections {
        /** Three layers, [H K, D], [G K, D], [G K, D]. */
        record Split(Part q, Part k, Part v) implements Projections {}

        /** One layer [(H + 2 G) K, D]: all rows of the queries, then keys, then values. */
        record Packed(Part qkv) implements Projections {}
    }

    /** Keys and values that stand in front of those of the text: prefix tuning. Not rotated. */
    public interface Prefix {
        /** P, the number of keys. */
        int length();

        /** Keys [P, G K]. */
        Tensor keys();

        /** Values [P, G K]. */
        Tensor values();
    }

    /** Sees what the scores are made of, for attention maps. */
    @FunctionalInterface
    public interface Watcher {
        /** Queries [B, T, H K] and keys [B, capacity, G K] after rotation, with sizes and mask. */
        void attend(Tensor q, Tensor k, anneal.kernels.Attention settings);
    }

    private final Options options;
    private final Rope rope;
    private Linear packed;
    private Linear query;
    private Linear key;
    private Linear value;
    private final Linear out;
    private final RmsNorm queryNorm;
    private final RmsNorm keyNorm;
    private Prefix prefix;
    private Watcher watcher;

    /**
     * A layer of these parts.
     *
     * @param queryNorm norm of each query head [K] before the rotation, or null together with keyNorm
     * @param rope the rotation, shared by all layers, or null
     */
    public Attention(
            Options options, Projections projections, Part out, RmsNorm queryNorm, RmsNorm keyNorm, Rope rope) {
        super(options.outputDropout);
        this.options = options;
        this.rope = rope;
        switch (projections) {
            case Projections.Split s -> {
                query = child(s.q().name(), s.q().linear());
                key = child(s.k().name(), s.k().linear());
                value = child(s.v().name(), s.v().linear());
            }
            case Projections.Packed p -> packed = child(p.qkv().name(), p.qkv().linear());
        }
        this.out = child(out.name(), out.linear());
        this.queryNorm = queryNorm == null ? null : child("q_norm", queryNorm);
        this.keyNorm = keyNorm == null ? null : child("k_norm", keyNorm);
    }

    /** The branch, without residual. */
    public Tensor forward(Tensor xBTD, Pass pass) {
        Heads heads = normed(project(xBTD));
        if (rope != null) {
            rope.turn(heads.q, pass.angles());
            rope.turn(heads.k, pass.angles());
        }
        Heads all = behindEarlier(heads, pass);
        anneal.kernels.Attention settings = settings(all, pass);
        if (watcher != null) {
            watcher.attend(all.q, all.k, settings);
        }
        return out.forward(Ops.attention(all.q, all.k, all.v, settings));
    }

    /** q [B, T, H K], k and v [B, T, G K]; with earlier keys, k and v [B, capacity, G K] of which {@code keys} are filled. */
    private record Heads(Tensor q, Tensor k, Tensor v, int keys) {}

    private Heads project(Tensor x) {
        int length = x.dim(1), q = options.heads * options.headDim, kv = options.kvHeads * options.headDim;
        if (packed == null) {
            return new Heads(query.forward(x), key.forward(x), value.forward(x), length);
        }
        Tensor all = packed.forward(x);
        return new Heads(Ops.columns(all, 0, q), Ops.columns(all, q, kv), Ops.columns(all, q + kv, kv), length);
    }

    private Heads normed(Heads h) {
        return queryNorm == null ? h : new Heads(byHead(queryNorm, h.q), byHead(keyNorm, h.k), h.v, h.keys);
    }

    private Tensor byHead(RmsNorm norm, Tensor x) {
        Tensor heads = x.view(Math.toIntExact(x.size() / options.headDim), options.headDim);
        return norm.forward(heads).view(x.shape().dims());
    }

    /** Puts keys and values behind those of the prefix and the cache. */
    private Heads behindEarlier(Heads h, Pass pass) {
        Heads own = h;
        if (prefix != null && pass.past() == 0) {
            own = new Heads(
                    h.q, Ops.prepend(prefix.keys(), h.k), Ops.prepend(prefix.values(), h.v), h.keys + prefix.length());
        }
        KeyValueCache cache = pass.cache();
        if (cache == null) {
            return own;
        }
        if (Tape.recording() && (own.k.tracked() || own.v.tracked())) {
            throw new IllegalArgumentException(
                    "attention: no gradient flows through a cache; pause the tape to decode (at " + path() + ")");
        }
        cache.append(options.layer, own.k, own.v);
        return new Heads(h.q, cache.keys(options.layer), cache.values(options.layer), pass.past() + own.keys);
    }

    private anneal.kernels.Attention settings(Heads h, Pass pass) {
        float dropout = Tape.training() ? options.dropout : 0;
        return new anneal.kernels.Attention(
                pass.batch(),
                pass.length(),
                h.keys,
                h.k.dim(1),
                options.heads,
                options.kvHeads,
                options.headDim,
                options.scale,
                true,
                options.window,
                pass.querySegments(),
                pass.keySegments(),
                options.slopes,
                0f,
                dropout,
                dropout > 0 ? Tape.nextSeed() : 0);
    }

    /** Sizes and options. */
    public Options options() {
        return options;
    }

    /** The rotation, or null. */
    public Rope rope() {
        return rope;
    }

    /** The keys and values in front, or null. */
    public Prefix prefix() {
        return prefix;
    }

    /** Keys in front; 0 without a prefix. */
    public int prefixLength() {
        return prefix == null ? 0 : prefix.length();
    }

    /** Puts keys and values in front, in a pass with an empty cache or none; null takes them away. */
    public void prefix(Prefix p) {
        int width = options.kvHeads * options.headDim;
        if (p != null && (p.keys().rowSize() != width || p.values().rowSize() != width)) {
            throw new ShapeException("prefix: keys " + p.keys().shape() + " and values "
                    + p.values().shape() + " must be [" + p.length() + ", " + width + "] (at " + path() + ")");
        }
        prefix = p;
    }

    /** Gives what the scores are made of to a listener that compares models; null ends it. */
    public void watchHeads(Consumer<DistillOps.Heads> listener) {
        watcher = listener == null ? null : (q, k, settings) -> listener.accept(new DistillOps.Heads(q, k, settings));
    }

    /** Watches this layer; null ends it. */
    public void watch(Watcher w) {
        watcher = w;
    }
}
