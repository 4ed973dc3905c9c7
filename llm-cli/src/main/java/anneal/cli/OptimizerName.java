package anneal.cli;

import anneal.train.Adafactor;
import anneal.train.Adam;
import anneal.train.AdamW;
import anneal.train.AdamW8bit;
import anneal.train.Lion;
import anneal.train.Lion8bit;
import anneal.train.Sgd;
import anneal.train.UpdateRule;

/** {@code --optimizer}. */
enum OptimizerName {
    adamw,
    adamw8bit,
    adam,
    sgd,
    lion,
    lion8bit,
    adafactor;

    /** The rule with its usual settings. */
    UpdateRule of(double weightDecay) {
        return switch (this) {
            case adamw -> new AdamW(0.9, 0.999, 1e-8, weightDecay);
            case adamw8bit -> new AdamW8bit(0.9, 0.999, 1e-8, weightDecay);
            case adam -> new Adam(0.9, 0.999, 1e-8, weightDecay);
            case sgd -> new Sgd(0.9, 0, false, weightDecay);
            case lion -> new Lion(0.9, 0.99, weightDecay);
            case lion8bit -> new Lion8bit(0.9, 0.99, weightDecay);
            case adafactor -> new Adafactor(false, false, false, 1, -0.8, 0, 1e-30, 1e-3, weightDecay);
        };
    }
}
