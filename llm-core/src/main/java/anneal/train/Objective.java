package anneal.train;

/** What is minimised: gives the loss of one batch. A custom loss is a lambda. */
@FunctionalInterface
public interface Objective<B> {
    /** The loss of this batch, as a sum over its items and their count. */
    Loss apply(B batch);
}
