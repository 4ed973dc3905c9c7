/**
 * A Jinja2 interpreter for chat templates: Python's semantics, in the configuration that transformers uses
 * (trim_blocks, lstrip_blocks, loop controls, generation markers, a sandbox in which nothing can be modified).
 *
 * <p>Templates are untrusted: no reflection, no file access, bounded work, depth and output.
 */
package anneal.text.jinja;
