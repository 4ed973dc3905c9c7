package anneal.nn;

/**
 * A projection and its name inside its block.
 *
 * @param name as in the family's weight files: "q_proj", "c_attn"
 */
public record Part(String name, Linear linear) {}
