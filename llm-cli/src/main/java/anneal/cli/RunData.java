package anneal.cli;

import anneal.data.Sample;
import anneal.text.Tokenizer;
import java.io.PrintWriter;
import java.util.Iterator;
import java.util.List;
import java.util.function.IntFunction;

/** What a run learns from. */
interface RunData<B> {
    /** Batches by epoch. */
    IntFunction<Iterator<B>> train();

    /** Batches that are held out, or null. */
    IntFunction<Iterator<B>> valid();

    /** Batches in an epoch. */
    int count();

    /** Longest row of the first epoch's first batch, as a measure of what a step costs. */
    int rowLength();

    /** Samples whose prompts are answered before and after the training; may be none. */
    List<Sample> first();

    /** Says how much there is, and what one sample looks like to the model. */
    void describe(PrintWriter out, Tokenizer tokenizer);
}
