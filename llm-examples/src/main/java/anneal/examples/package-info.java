/** One short program per recipe; nothing imports this package. */
package anneal.examples;
