/** The {@code anneal} command: reads flags or YAML, calls the library, prints. No logic of its own. */
package anneal.cli;
