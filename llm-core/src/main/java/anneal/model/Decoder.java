package anneal.model;

import anneal.nn.Adapter;
import anneal.nn.Attention;
import anneal.nn.Embedding;
import anneal.nn.FeedForward;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.nn.Norm;
import anneal.nn.Pass;
import anneal.nn.Weight;
import anneal.tensor.Memory;
import anneal.tensor.NllOptions;
import anneal.tensor.Ops;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.IdentityHashMap;
import java.util.Map;
import java.util.function.UnaryOperator;

/**
 * The decoder-only transformer: what is computed, for every family.
 *
 * <pre>
 * x = embedding[ids] (+ positions)                        [B, T, D]
 * for each block:
 *     x = x + attention(norm(x))                          keys and values of earlier tokens come from the cache
 *     x = x + feedForward(norm(x))
 * hidden = norm(x)
 * logits = hidden headT                                   [B, T, V], or straight to the loss: nll
 * </pre>
 *
 * <p>Radford et al. (2019) for GPT-2, Touvron et al., arXiv:2302.13971 for LLaMA. Storage, adapters and everything else that
 * changes a model plugs into the layers (see {@link Module}); nothing of it stands here.
 */
public final class Decoder extends Module implements CausalLm {
    private final DecoderConfig config;
    private final Embedding embedding;
    private final Embedding positions;
    private final Block[] blocks;
    private final Norm norm;
    private final Linear head;
    private boolean checkpointing;

    /** The model of this config with the weights of {@code source}. */
    public Decoder(DecoderConfig config, WeightSource source) {
        this.config = config;
        Family.Names names = config.family().names();
        Parts parts = new Parts(config, source);
        embedding = child(names.embedding(), parts.embedding(names.embedding(), config.vocabSize()));
        positions = names.positions() == null
                ? null
                : child(names.positions(), parts.embedding(names.positions(), config.contextLength()));
        blocks = new Block[config.layers()];
        for (int i = 0; i < blocks.length; i++) {
            String path = names.layers() + "." + i;
            blocks[i] = child(path, new Block(parts, path, i));
        }
        norm = child(names.norm(), parts.norm(names.norm(), config.hiddenSize()));
        head = child(names.head(), parts.head(names.head(), embedding.weight()));
    }

    /** A block: two branches, each closed by adding what the stream carried. */
    private static final class Block extends Module {
        private final Norm attentionNorm;
        private final Attention attention;
        private final Norm feedForwardNorm;
        private final FeedForward feedForward;

        Block(Parts parts, String path, int layer) {
            Family.Names names = parts.names();
            String a = names.attention().norm(), f = names.feedForward().norm();
            attentionNorm = child(a, parts.norm(path + "." + a, parts.config().hiddenSize()));
            attention = child(names.attention().module(), parts.attention(path, layer));
            feedForwardNorm = child(f, parts.norm(path + "." + f, parts.config().hiddenSize()));
            feedForward = child(names.feedForward().module(), parts.feedForward(path));
        }

        Tensor forward(Tensor xBTD, Pass pass) {
            Tensor x = attention.run(xBTD, y -> normed(attentionNorm, y, z -> attention.forward(z, pass)));
            return feedForward.run(x, y -> normed(feedForwardNorm, y, feedForward::forward));
        }

        /** branch(norm(x)); what lies between costs little and is not kept for the backward pass. */
        private static Tensor normed(Norm norm, Tensor x, UnaryOperator<Tensor> branch) {
            Tensor z = norm.forward(x), y = branch.apply(z);
            Tape.remake(z, y, () -> norm.forward(x), x);
            return y;
        }
    }

    // ---------------------------------------------------------------- forward

    @Override
    public Tensor hidden(Tokens tokens, KvCache cache) {
        Frame frame = Frame.of(tokens, cache, embedding.plug(), prefixLength(), config.limit());
        Tensor x = embed(tokens, frame);
        Pass pass = new Pass(
                tokens.batch(),
                frame.length(),
                blocks[0].attention.rope() == null
                        ? null
                        : blocks[0].attention.rope().angles(frame.positions()),
                frame.querySegments(),
                frame.keySegments(),
                cache);
        for (Block block : blocks) {
            x = forward(block, x, pass);
        }
        if (cache != null) {
            cache.advance(frame.keys());
        }
        return norm.forward(frame.withoutFront(x));
    }

    /** A block's output; while nothing is recorded, only that leaves the block's memory. */
    private Tensor forward(Block block, Tensor x, Pass pass) {
        if (Tape.recording()) {
            return checkpointing ? Tape.checkpoint(y -> block.forward(y, pass), x) : block.forward(x, pass);
        }
        Tensor y = Tensor.like(x);
        try (Memory.Scope scope = Memory.scope()) {
            Tensor own = block.forward(x, pass);
            if (own == x) { // both sub-layers were left out
                return x;
            }
            y.set(own);
        }
        return y;
    }

    /** What the first block reads: token vectors behind those of the input socket, plus learnt positions. */
    private Tensor embed(Tokens tokens, Frame frame) {
        Tensor x = embedding.forward(tokens.ids()).view(tokens.batch(), tokens.length(), config.hiddenSize());
        if (frame.front() != null) {
            x = Ops.prepend(frame.front(), x);
        }
        if (positions != null) {
            Tensor p = positions.forward(frame.positions());
            x = Ops.addInPlace(p.view(x.shape().dims()), x);
        }
        return Ops.dropout(x, config.dropouts().embedding());
    }

    private int prefixLength() {
        int first = blocks[0].attention.prefixLength();
        for (int i = 1; i < blocks.length; i++) {
            int other = blocks[i].attention.prefixLength();
            if (other != first) {
                throw new IllegalArgumentException("hidden: layer " + i + " has a key/value prefix of " + other
                        + ", layer 0 one of " + first + "; all must be equally long");
            }
        }
        return first;
    }

    @Override
    public Tensor logits(Tensor hidden) {
        return head.forward(hidden);
    }

    @Override
    public Tensor nll(Tokens tokens, int[] targets, NllOptions options) {
        Tensor hidden = hidden(tokens, null);
        Weight w = head.weight();
        Tensor nll = head.adapter() != Adapter.NONE || head.bias() != null
                ? Ops.nll(head.forward(hidden), targets, options)
                : w.parameter().isPresent()
                        ? Ops.nll(hidden, w.parameter().get(), targets, options)
                        : Ops.nll(hidden, w.matrix(), targets, options);
        return nll.view(tokens.batch(), tokens.length());
    }

    @Override
    public KvCache cache(int batch, int capacity) {
        int room = capacity + inFront();
        return new KvCache(
                blocks.length, batch, room, config.heads().kv() * config.heads().dim());
    }

    // ---------------------------------------------------------------- what it is

    /** Sizes and options. */
    public DecoderConfig config() {
        return config;
    }

    @Override
    public Module root() {
        return this;
    }

    @Override
    public int vocabSize() {
        return config.vocabSize();
    }

    /** What stands in front of the tokens takes positions of its own. */
    @Override
    public int contextLength() {
        return config.limit() == 0 ? 0 : Math.max(1, config.limit() - inFront());
    }

    private int inFront() {
        return prefixLength() + embedding.plug().frontLength();
    }

    /** The attention of a block. */
    public Attention attention(int layer) {
        return blocks[layer].attention;
    }

    /** The feed-forward network of a block. */
    public FeedForward feedForward(int layer) {
        return blocks[layer].feedForward;
    }

    /** The embedding of the tokens. */
    public Embedding embedding() {
        return embedding;
    }

    /** The output projection. */
    public Linear head() {
        return head;
    }

    /** Keeps only each block's input for the backward pass and computes the rest again: less memory, more time. */
    public void checkpointing(boolean on) {
        checkpointing = on;
    }

    /** True if blocks are computed again in the backward pass: what passes through them is then gone in between. */
    public boolean checkpointing() {
        return checkpointing;
    }

    /** Makes every parameter trainable: weights that lie in a file are widened into {@code arena}. */
    public Decoder train(Arena arena) {
        Map<Weight, Weight> done = new IdentityHashMap<>();
        walk((name, module) -> {
            switch (module) {
                case Linear l -> l.weight(done.computeIfAbsent(l.weight(), w -> w.trainable(arena)));
                case Embedding e -> e.weight(done.computeIfAbsent(e.weight(), w -> w.trainable(arena)));
                default -> {}
            }
        });
        unfreeze();
        return this;
    }
}
