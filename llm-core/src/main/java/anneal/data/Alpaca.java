package anneal.data;

/** The two prompts of Stanford Alpaca (github.com/tatsu-lab/stanford_alpaca), for models without a chat template. */
public final class Alpaca {
    private static final String WITH_INPUT = "Below is an instruction that describes a task, paired with an input that "
            + "provides further context. Write a response that appropriately completes the request.\n\n";
    private static final String WITHOUT_INPUT = "Below is an instruction that describes a task. Write a response that "
            + "appropriately completes the request.\n\n";

    private Alpaca() {}

    /** The prompt that ends with {@code ### Response:}; {@code input} may be empty. */
    public static String prompt(String instruction, String input) {
        return input.isEmpty()
                ? WITHOUT_INPUT + "### Instruction:\n" + instruction + "\n\n### Response:"
                : WITH_INPUT + "### Instruction:\n" + instruction + "\n\n### Input:\n" + input + "\n\n### Response:";
    }
}
