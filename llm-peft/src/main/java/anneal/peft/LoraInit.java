package anneal.peft;

/**
 * How A [rank, in] and B [out, rank] of a {@link Lora} start.
 *
 * <p>Beside the plain ones of {@link Lora.Init} there are those that look at the layer's matrix W, and those that look at data. All but
 * {@link Eva} give the layer another matrix W0 with W0 + scaling B A = W, or nearly W: the model starts as it was, but what is trained
 * begins with the directions that matter. The exchange is undone while the adapters are disabled, and the model's file is never
 * touched. How such an adapter is saved: see {@link Adapters#save} and {@link Adapters#saveAsPlainLora}.
 */
public sealed interface LoraInit
        permits Lora.Init, LoraInit.Pissa, LoraInit.Olora, LoraInit.LoftQ, LoraInit.Eva, LoraInit.LoraGa {
    /** True if the layer gets another matrix. */
    default boolean changesBase() {
        return !(this instanceof Lora.Init || this instanceof Eva);
    }

    /** True if it needs a run of the model over data: {@link Lora#attach(anneal.nn.Module, long, Runnable)}. */
    default boolean needsData() {
        return this instanceof Eva || this instanceof LoraGa;
    }

    /**
     * The largest singular values and their vectors: A = sqrt(S / scaling) VT, B = U sqrt(S / scaling) of the first {@code rank}
     * directions of W = U S VT. Meng et al., arXiv:2404.02948.
     *
     * @param iterations powers of the randomised SVD, which is fast and nearly exact; {@link #EXACT} for the exact one. PEFT's
     *     "pissa_niter_N" draws another random subspace each time; here it is always the same one, so that loading finds W0 again
     */
    record Pissa(int iterations) implements LoraInit {
        /** In place of a number of powers: the exact SVD. */
        public static final int EXACT = -1;

        public Pissa {
            if (iterations < EXACT) {
                throw new IllegalArgumentException(
                        "Pissa: iterations " + iterations + " must be 0 or more, or Pissa.EXACT (-1)");
            }
        }

        /** With the exact SVD. */
        public Pissa() {
            this(EXACT);
        }
    }

    /** The first {@code rank} columns of Q and rows of R of W = Q R. Buyukakyuz, arXiv:2406.01775. */
    record Olora() implements LoraInit {}

    /**
     * Makes up for what quantising costs: W0 is W - B A quantised, B A the best one of its rank for W - W0, found in turns. W0 stands in
     * memory as floats with the quantised values, as in PEFT; 4 bits are NF4 in blocks of 64, 8 bits one scale for each row of W rounded
     * to f16, both as bitsandbytes does it. Li et al., arXiv:2310.08659. As in PEFT, scaling is not divided out: W0 + B A is near W,
     * so with a scaling other than 1 the fresh model is further from the base.
     *
     * @param bits 4 or 8
     * @param iterations turns
     */
    record LoftQ(int bits, int iterations) implements LoraInit {
        public LoftQ {
            if (bits != 4 && bits != 8) {
                throw new IllegalArgumentException("LoftQ: bits " + bits + " must be 4 or 8");
            }
            if (iterations < 1) {
                throw new IllegalArgumentException("LoftQ: iterations " + iterations + " must be at least 1");
            }
        }
    }

    /**
     * A is made of the directions in which the layer's inputs vary most, B is zero, and layers whose inputs need few directions give
     * ranks to those that need more: the directions that explain the largest shares of their layer's variance are kept, as many in all
     * as without. Paischer et al., arXiv:2410.07170; PEFT's EvaConfig.
     *
     * <p>The directions are those of all inputs that were seen, exactly, where PEFT updates them by batch until they stand still (its
     * tau). Every position that the batch runs counts, padding too: run over texts without (PEFT's use_label_mask leaves out what is not
     * trained).
     *
     * @param rho times its rank is what a layer can get at most; 1 = ranks stay where they are
     * @param adjustScaling alpha changes with the rank, so that alpha / rank stays
     * @param whiten each direction is divided by the root of its singular value, that of the inputs seen. In PEFT that of all passes,
     *     which it makes until nothing changes, and 0.21 divides once for each layer that reads the same input
     */
    record Eva(double rho, boolean adjustScaling, boolean whiten) implements LoraInit {
        public Eva {
            if (!(rho >= 1) || Double.isInfinite(rho)) {
                throw new IllegalArgumentException("Eva: rho " + rho + " must be a number of at least 1");
            }
        }

        /** With PEFT's other defaults: the scaling stays, nothing is whitened. */
        public Eva(double rho) {
            this(rho, true, false);
        }

        /** PEFT's defaults: rho = 2. */
        public Eva() {
            this(2);
        }
    }

    /**
     * A and B follow the gradient G of W for a first batch: singular vectors of G, so that the first steps move as full fine-tuning
     * would. Wang et al., arXiv:2407.05000, in PEFT's form: B is multiplied by the singular values of its directions, so the
     * loss of that batch should be a mean.
     *
     * @param direction which of the first 2 rank directions A and B get
     * @param scale how long they are
     * @param gamma divides the length with {@link Scale#STABLE}
     */
    record LoraGa(Direction direction, Scale scale, double gamma) implements LoraInit {
        /** Which directions. */
        public enum Direction {
            /** A the first {@code rank}, B the next. */
            AR_B2R,
            /** B the first {@code rank}, A the next. */
            A2R_BR,
            /** In turns: B the first, third, fifth. */
            AR_BR
        }

        /** What B is multiplied by. */
        public enum Scale {
            /** out^(1/4) / sqrt(gamma). */
            STABLE,
            /** The largest singular value of W over that of B's directions. */
            WEIGHT_SVD,
            /** 1 / scaling, and so is A. */
            GD_SCALE,
            /** 1. */
            UNIT
        }

        public LoraGa {
            if (!(gamma > 0) || Double.isInfinite(gamma)) {
                throw new IllegalArgumentException("LoraGa: gamma " + gamma + " must be a positive number");
            }
        }

        /** PEFT's defaults: AR_B2R, STABLE, 16. */
        public LoraGa() {
            this(Direction.AR_B2R, Scale.STABLE, 16);
        }
    }
}
