package anneal.kernels;

/** Element-wise non-linearities, each with the formula that its name stands for in config.json's {@code hidden_act}. */
public enum Activation {
    /** max(x, 0). */
    RELU,
    /** x / (1 + exp(-x)), also called swish. */
    SILU,
    /** x Phi(x) = x (1 + erf(x / sqrt 2)) / 2; Hendrycks and Gimpel, arXiv:1606.08415. */
    GELU,
    /** x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2: "gelu_new", "gelu_pytorch_tanh". */
    GELU_TANH,
    /** tanh(x). */
    TANH,
    /** 1 / (1 + exp(-x)). */
    SIGMOID,
    /** exp(x). */
    EXP,
    /** log(1 / (1 + exp(-x))) = -softplus(-x): the log-probability of a logistic preference. */
    LOG_SIGMOID
}
