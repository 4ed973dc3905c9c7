/** Layers, and the four sockets by which a model is changed from outside: see {@link anneal.nn.Module}. */
package anneal.nn;
