package anneal.cli;

import anneal.generate.Sampling;
import picocli.CommandLine.Option;

/** How tokens are chosen. */
final class SamplingFlags {
    @Option(names = "--max-tokens", paramLabel = "N", description = "Default: ${DEFAULT-VALUE}.")
    int maxTokens = 100;

    @Option(
            names = "--temp",
            paramLabel = "X",
            description =
                    "Temperature; 0 = always the most likely token, then the next three and the seed do nothing (default:"
                            + " ${DEFAULT-VALUE}).")
    double temperature = 0;

    @Option(names = "--top-p", paramLabel = "P", description = "Nucleus: the fewest tokens that have this probability.")
    double topP = 1;

    @Option(names = "--top-k", paramLabel = "K", description = "Only the K most likely tokens; 0 = all.")
    int topK = 0;

    @Option(
            names = "--min-p",
            paramLabel = "P",
            description = "Only tokens with this share of the best one's probability.")
    double minP = 0;

    @Option(names = "--repetition-penalty", paramLabel = "X", description = "Above 1: used tokens become less likely.")
    double repetitionPenalty = 1;

    @Option(names = "--seed", paramLabel = "N", description = "Default: ${DEFAULT-VALUE}.")
    long seed = 0;

    Sampling sampling() {
        return Sampling.builder()
                .maxNewTokens(maxTokens)
                .temperature(temperature)
                .topP(topP)
                .topK(topK)
                .minP(minP)
                .repetitionPenalty(repetitionPenalty)
                .seed(seed)
                .build();
    }

    /** True if something is asked for that only a random choice uses. */
    boolean cuts() {
        return temperature > 0 || topP != 1 || topK != 0 || minP != 0;
    }
}
