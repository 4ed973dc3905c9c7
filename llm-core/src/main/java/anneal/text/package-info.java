/** Text in, token ids out, and back: tokenizers, their training, chat templates. Knows no tensor. */
package anneal.text;
