package anneal.cli;

import anneal.peft.AdaLora;
import anneal.peft.RankBudget;
import java.util.Objects;
import java.util.stream.Stream;
import picocli.CommandLine.Option;

/** What {@code --adapter adalora} has beside LoRA's flags; null = not given. */
final class AdaLoraFlags {
    @Option(
            names = "--adalora-init-rank",
            paramLabel = "R",
            description =
                    "Rank of each module at the start; --lora-rank is what stays on average (default: 1.5 times that).")
    Integer initRank;

    @Option(
            names = "--adalora-tinit",
            paramLabel = "F",
            description = "Part of the run before ranks are taken away (default: 0.15).")
    Double tinit;

    @Option(
            names = "--adalora-tfinal",
            paramLabel = "F",
            description = "Part of the run after the last was taken away (default: 0.5).")
    Double tfinal;

    @Option(
            names = "--adalora-orthogonality",
            paramLabel = "X",
            description = "Weight of the penalty that keeps A and B orthonormal (default: 0.5).")
    Double orthogonality;

    /** Refuses flags that another kind of adapter would not use. */
    void requireUnused() {
        if (Stream.of(initRank, tinit, tfinal, orthogonality).anyMatch(Objects::nonNull)) {
            throw new IllegalArgumentException("the flags --adalora-... need --adapter adalora, without --full");
        }
    }

    /** The options that were given. */
    AdaLora.Builder into(AdaLora.Builder b) {
        RankBudget.Parts paper = RankBudget.Parts.PAPER;
        b.budget(new RankBudget.Parts(
                tinit == null ? paper.tinit() : tinit, tfinal == null ? paper.tfinal() : tfinal, paper.deltaT()));
        b = initRank == null ? b : b.from(initRank);
        return orthogonality == null ? b : b.orthogonality(orthogonality);
    }
}
