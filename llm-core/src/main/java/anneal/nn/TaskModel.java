package anneal.nn;

/**
 * A model with a last layer that is new to its task, as the head of a classifier is: whoever fine-tunes the model by adapters trains a
 * copy of that layer beside them and saves it with them.
 */
public interface TaskModel {
    /** The task in PEFT's words: "SEQ_CLS". */
    String task();

    /** The new layer. */
    Linear head();
}
