package anneal.nn;

import anneal.tensor.Tensor;

/**
 * A table of vectors, one for each token: ids -> [ids, D]. The storage is a plug, and what the model reads can be changed by another.
 */
public final class Embedding extends Module {
    /** The input socket: trained vectors in front of the text, or changed rows. */
    public interface Plug {
        /** The table as it is. */
        Plug NONE = new Plug() {};

        /** What is read in place of {@code plain}, the rows of {@code ids}. Shapes: [ids, D] -> [ids, D]. */
        default Tensor rows(int[] ids, Tensor plain) {
            return plain;
        }

        /** Vectors that every row of a batch starts with [P, D], or null: prompt tuning. */
        default Tensor front() {
            return null;
        }

        /** P, without computing the vectors; 0 if there are none. */
        default int frontLength() {
            Tensor front = front();
            return front == null ? 0 : front.dim(0);
        }
    }

    private Weight weight;
    private Plug plug = Plug.NONE;

    /** A table [V, D]. */
    public Embedding(Weight weight) {
        weight(weight);
    }

    /** The vectors of some tokens, through the plug. */
    public Tensor forward(int[] ids) {
        return plug.rows(ids, weight.rows(ids));
    }

    /** Storage of the table. */
    public Weight weight() {
        return weight;
    }

    /** Exchanges the storage. */
    public void weight(Weight w) {
        weight = w;
        dropParameter("weight");
        w.parameter().ifPresent(t -> parameter("weight", t));
    }

    /** What is plugged in; {@link Plug#NONE} if nothing is. */
    public Plug plug() {
        return plug;
    }

    /** Plugs in. */
    public void plug(Plug p) {
        plug = p;
    }
}
