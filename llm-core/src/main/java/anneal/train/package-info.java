/** The training loop. Knows tensors and objectives, not what a language model is. */
package anneal.train;
