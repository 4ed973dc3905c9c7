package anneal.model;

import anneal.nn.Attention;
import anneal.nn.Embedding;
import anneal.nn.FeedForward;
import anneal.nn.LayerNorm;
import anneal.nn.Linear;
import anneal.nn.Norm;
import anneal.nn.Part;
import anneal.nn.RmsNorm;
import anneal.nn.Rope;
import anneal.nn.Weight;
import anneal.tensor.Tensor;

/** Builds layers from names, sizes and the weights' source. */
record Parts(DecoderConfig config, WeightSource source, Rope rope) {
    Parts(DecoderConfig config, WeightSource source) {
        this(config, source, rope(config));
    }

    private static Rope rope(DecoderConfig c) {
        DecoderConfig.Rotary r = c.rotary();
        return r == null ? null : new Rope(c.heads().dim(), r.channels(), r.theta(), r.scaling(), false);
    }

    Family.Names names() {
        return config.family().names();
    }

    Embedding embedding(String path, int rows) {
        return new Embedding(source.matrix(path + ".weight", rows, config.hiddenSize(), WeightSource.Role.EMBEDDING));
    }

    Norm norm(String path, int size) {
        Tensor weight = source.vector(path + ".weight", size, 1);
        float eps = (float) config.normEps();
        return names().transposed()
                ? new LayerNorm(weight, source.vector(path + ".bias", size, 0), eps)
                : new RmsNorm(weight, eps);
    }

    Linear head(String path, Weight embedding) {
        return new Linear(
                config.tied()
                        ? embedding
                        : source.matrix(
                                path + ".weight", config.vocabSize(), config.hiddenSize(), WeightSource.Role.HEAD),
                null);
    }

    Attention attention(String block, int layer) {
        Family.Names.Attention n = names().attention();
        DecoderConfig.Heads h = config.heads();
        String path = block + "." + n.module() + ".";
        int q = h.query() * h.dim(), kv = h.kv() * h.dim(), d = config.hiddenSize();
        boolean bias = config.biases().queryKeyValue();
        Attention.Projections in = n.packed() != null
                ? new Attention.Projections.Packed(linear(path, n.packed(), q + 2 * kv, d, bias))
                : new Attention.Projections.Split(
                        linear(path, n.query(), q, d, bias),
                        linear(path, n.key(), kv, d, bias),
                        linear(path, n.value(), kv, d, bias));
        Part out = closing(path, n.out(), d, q, config.biases().out());
        RmsNorm qNorm = n.headNorms() ? (RmsNorm) norm(path + "q_norm", h.dim()) : null;
        RmsNorm kNorm = n.headNorms() ? (RmsNorm) norm(path + "k_norm", h.dim()) : null;
        return new Attention(options(layer), in, out, qNorm, kNorm, rope);
    }

    private Attention.Options options(int layer) {
        DecoderConfig.Heads h = config.heads();
        double scale = (config.scaleScores() ? 1 / Math.sqrt(h.dim()) : 1) / (config.scaleByLayer() ? layer + 1 : 1);
        return new Attention.Options(
                layer,
                h.query(),
                h.kv(),
                h.dim(),
                (float) scale,
                config.windows()[layer],
                null,
                config.dropouts().attention(),
                config.dropouts().residual());
    }

    FeedForward feedForward(String block) {
        Family.Names.FeedForward n = names().feedForward();
        String path = block + "." + n.module() + ".";
        int d = config.hiddenSize(), f = config.feedForwardSize();
        boolean bias = config.biases().feedForward();
        return new FeedForward(
                n.gate() == null ? null : linear(path, n.gate(), f, d, bias),
                linear(path, n.up(), f, d, bias),
                closing(path, n.down(), d, f, bias),
                config.activation(),
                config.dropouts().residual());
    }

    private Part linear(String path, String name, int out, int in, boolean bias) {
        return part(path, name, out, in, bias, WeightSource.Role.LINEAR);
    }

    private Part closing(String path, String name, int out, int in, boolean bias) {
        return part(path, name, out, in, bias, WeightSource.Role.RESIDUAL);
    }

    private Part part(String path, String name, int out, int in, boolean bias, WeightSource.Role role) {
        Weight weight = source.matrix(path + name + ".weight", out, in, role);
        return new Part(name, new Linear(weight, bias ? source.vector(path + name + ".bias", out, 0) : null));
    }
}
