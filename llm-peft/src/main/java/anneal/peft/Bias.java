package anneal.peft;

/** Biases of the model that are trained beside an adapter; they stay when it is disabled, as in PEFT. */
public enum Bias {
    /** None. */
    NONE,
    /** Every bias of the model. */
    ALL,
    /** Those of adapted layers: "lora_only" and "vera_only" in PEFT's files. */
    TARGETS
}
