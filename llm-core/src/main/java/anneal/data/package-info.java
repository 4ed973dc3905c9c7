/** From files of samples to batches of token ids: readers, packing, padding, shuffling. Knows no model. */
package anneal.data;
