/** Language models: the interface that every method uses, and the one decoder behind it. */
package anneal.model;
