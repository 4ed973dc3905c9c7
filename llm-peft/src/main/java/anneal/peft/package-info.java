/** Adapters: small trained additions to a frozen model, in PEFT's files. */
package anneal.peft;
