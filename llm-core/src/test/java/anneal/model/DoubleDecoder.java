package anneal.model;

import anneal.kernels.Activation;
import java.util.Map;

/** The formulas of GPT-2 and LLaMA as plain loops in double precision: what {@link Decoder} is measured with. */
final class DoubleDecoder {
    private final DecoderConfig c;
    private final Map<String, double[]> w;

    DoubleDecoder(DecoderConfig config, Map<String, double[]> weights) {
        c = config;
        w = weights;
    }

    /** Sum of the negative log-likelihoods of one sequence's targets (-1 = none). */
    double nll(int[] ids, int[] targets) {
        boolean gpt2 = c.family() == Family.GPT2;
        int d = c.hiddenSize(), n = ids.length;
        double[][] x = new double[n][];
        for (int t = 0; t < n; t++) {
            x[t] = row(gpt2 ? "transformer.wte.weight" : "model.embed_tokens.weight", ids[t], d);
            if (gpt2) {
                x[t] = plus(x[t], row("transformer.wpe.weight", t, d));
            }
        }
        for (int i = 0; i < c.layers(); i++) {
            String p = (gpt2 ? "transformer.h." : "model.layers.") + i + ".";
            double[][] a = attention(p, norm(x, p + (gpt2 ? "ln_1" : "input_layernorm")));
            for (int t = 0; t < n; t++) {
                x[t] = plus(x[t], a[t]);
            }
            double[][] h = norm(x, p + (gpt2 ? "ln_2" : "post_attention_layernorm"));
            for (int t = 0; t < n; t++) {
                x[t] = plus(x[t], feedForward(p + "mlp.", h[t]));
            }
        }
        double[][] h = norm(x, gpt2 ? "transformer.ln_f" : "model.norm");
        String head = !c.tied() ? "lm_head.weight" : gpt2 ? "transformer.wte.weight" : "model.embed_tokens.weight";
        double sum = 0;
        for (int t = 0; t < n; t++) {
            if (targets[t] >= 0) {
                double[] logits = times(head, h[t], c.vocabSize(), false);
                double lse = 0;
                for (double z : logits) {
                    lse += Math.exp(z);
                }
                sum += Math.log(lse) - logits[targets[t]];
            }
        }
        return sum;
    }

    private double[] row(String name, int i, int d) {
        return java.util.Arrays.copyOfRange(w.get(name), i * d, (i + 1) * d);
    }

    private static double[] plus(double[] a, double[] b) {
        double[] sum = new double[a.length];
        for (int i = 0; i < sum.length; i++) {
            sum[i] = a[i] + b[i];
        }
        return sum;
    }

    /** y = W x (+ b), with W [out, in], or [in, out] if turned. */
    private double[] times(String name, double[] x, int out, boolean turned) {
        double[] m = w.get(name), y = new double[out];
        double[] bias = w.get(name.replaceAll("weight$", "bias"));
        for (int o = 0; o < out; o++) {
            for (int i = 0; i < x.length; i++) {
                y[o] += x[i] * (turned ? m[i * out + o] : m[o * x.length + i]);
            }
            y[o] += bias == null ? 0 : bias[o];
        }
        return y;
    }

    private double[][] norm(double[][] x, String name) {
        double[][] y = new double[x.length][];
        for (int t = 0; t < x.length; t++) {
            y[t] = norm(x[t], w.get(name + ".weight"), w.get(name + ".bias"));
        }
        return y;
    }

    private double[] norm(double[] x, double[] weight, double[] bias) {
        double mean = 0, squares = 0;
        for (double v : x) {
            mean += bias == null ? 0 : v / x.length;
        }
        for (double v : x) {
            squares += (v - mean) * (v - mean) / x.length;
        }
        double[] y = new double[x.length];
        for (int i = 0; i < x.length; i++) {
            y[i] = (x[i] - mean) / Math.sqrt(squares + c.normEps()) * weight[i] + (bias == null ? 0 : bias[i]);
        }
        return y;
    }

    private double[] feedForward(String p, double[] x) {
        if (c.family() == Family.GPT2) {
            double[] h = times(p + "c_fc.weight", x, c.feedForwardSize(), true);
            for (int i = 0; i < h.length; i++) {
                h[i] = activation(h[i]);
            }
            return times(p + "c_proj.weight", h, x.length, true);
        }
        double[] gate = times(p + "gate_proj.weight", x, c.feedForwardSize(), false);
        double[] up = times(p + "up_proj.weight", x, c.feedForwardSize(), false);
        for (int i = 0; i < up.length; i++) {
            up[i] *= activation(gate[i]);
        }
        return times(p + "down_proj.weight", up, x.length, false);
    }

    private double activation(double x) {
        return c.activation() == Activation.SILU
                ? x / (1 + Math.exp(-x))
                : x / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
    }

    private double[][] attention(String p, double[][] x) {
        boolean gpt2 = c.family() == Family.GPT2;
        int n = x.length,
                heads = c.heads().query(),
                k = c.heads().dim(),
                groups = c.heads().kv();
        double[][] q = new double[n][], key = new double[n][], value = new double[n][], out = new double[n][];
        for (int t = 0; t < n; t++) {
            if (gpt2) {
                double[] all = times(p + "attn.c_attn.weight", x[t], 3 * heads * k, true);
                q[t] = java.util.Arrays.copyOfRange(all, 0, heads * k);
                key[t] = java.util.Arrays.copyOfRange(all, heads * k, 2 * heads * k);
                value[t] = java.util.Arrays.copyOfRange(all, 2 * heads * k, 3 * heads * k);
            } else {
                q[t] = turned(
                        normed(times(p + "self_attn.q_proj.weight", x[t], heads * k, false), p + "self_attn.q_norm"),
                        t);
                key[t] = turned(
                        normed(times(p + "self_attn.k_proj.weight", x[t], groups * k, false), p + "self_attn.k_norm"),
                        t);
                value[t] = times(p + "self_attn.v_proj.weight", x[t], groups * k, false);
            }
        }
        for (int t = 0; t < n; t++) {
            double[] mixed = new double[heads * k];
            for (int h = 0; h < heads; h++) {
                int g = h / (heads / groups);
                double[] s = new double[t + 1];
                double sum = 0;
                for (int j = 0; j <= t; j++) {
                    for (int i = 0; i < k; i++) {
                        s[j] += q[t][h * k + i] * key[j][g * k + i] / Math.sqrt(k);
                    }
                    sum += s[j] = Math.exp(s[j]);
                }
                for (int j = 0; j <= t; j++) {
                    for (int i = 0; i < k; i++) {
                        mixed[h * k + i] += s[j] / sum * value[j][g * k + i];
                    }
                }
            }
            out[t] = times(p + (gpt2 ? "attn.c_proj.weight" : "self_attn.o_proj.weight"), mixed, c.hiddenSize(), gpt2);
        }
        return out;
    }

    private double[] normed(double[] x, String name) {
        double[] weight = w.get(name + ".weight");
        if (weight == null) {
            return x;
        }
        double[] y = new double[x.length];
        for (int at = 0; at < x.length; at += weight.length) {
            double[] head = norm(java.util.Arrays.copyOfRange(x, at, at + weight.length), weight, null);
            System.arraycopy(head, 0, y, at, head.length);
        }
        return y;
    }

    private double[] turned(double[] x, int position) {
        int k = c.heads().dim(), half = k / 2;
        double[] y = new double[x.length];
        for (int at = 0; at < x.length; at += k) {
            for (int i = 0; i < half; i++) {
                double angle = position * Math.pow(c.rotary().theta(), -2.0 * i / k);
                double a = x[at + i], b = x[at + half + i];
                y[at + i] = a * Math.cos(angle) - b * Math.sin(angle);
                y[at + half + i] = b * Math.cos(angle) + a * Math.sin(angle);
            }
        }
        return y;
    }
}
