/** From a model to tokens: sampling, beam search, streaming. Knows no text. */
package anneal.generate;
