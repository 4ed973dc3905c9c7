/** Tensors of floats outside the heap, the operations on them with their gradients, and the tape that records them. */
package anneal.tensor;
