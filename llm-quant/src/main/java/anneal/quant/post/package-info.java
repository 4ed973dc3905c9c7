/** Post-training quantisation: from a trained model and some text to few bits a weight, or to products of integers. */
package anneal.quant.post;
