/** Storage formats of weights: what a matrix is rounded to, trained on and saved in. */
package anneal.quant;
