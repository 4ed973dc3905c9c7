/** The parts put together: a model with its tokenizer and chat template, and learning to say the next token. */
package anneal;
