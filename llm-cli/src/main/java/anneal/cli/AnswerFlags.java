package anneal.cli;

import anneal.Pretrained;
import anneal.data.Batch;
import anneal.data.Sample;
import anneal.distill.GeneratedBatches;
import anneal.generate.Sampling;
import anneal.text.Tokenizer;
import java.io.PrintWriter;
import java.util.Iterator;
import java.util.List;
import java.util.function.IntFunction;
import picocli.CommandLine.Option;

/** Whose answers a student learns from; null = not given. */
final class AnswerFlags {
    enum Source {
        data,
        teacher,
        student
    }

    @Option(
            names = "--answers",
            paramLabel = "WHOSE",
            description =
                    "${COMPLETION-CANDIDATES} (default: ${DEFAULT-VALUE}). teacher: it answers the data's prompts and the"
                            + " answers are learnt as labels. student: it answers as it is at this step and the teacher judges.")
    Source source = Source.data;

    @Option(
            names = "--lambda",
            paramLabel = "X",
            description =
                    "Share of the batches whose answers are written, the others are the data's, 0 to 1 (default: 1 if"
                            + " the teacher writes, 0.5 if the student does).")
    Double lambda;

    @Option(names = "--answer-tokens", paramLabel = "N", description = "Longest answer that is written (default: 128).")
    Integer tokens;

    @Option(
            names = "--answer-temperature",
            paramLabel = "T",
            description =
                    "Of the sampling; 0 = likeliest tokens (default: 0 if the teacher writes, 1 if the student does).")
    Double temperature;

    /** Throws if flags do not fit. */
    void check(RunFlags.Data data) {
        if (source == Source.data && (lambda != null || tokens != null || temperature != null)) {
            throw new IllegalArgumentException(
                    (lambda != null ? "--lambda" : tokens != null ? "--answer-tokens" : "--answer-temperature")
                            + " needs --answers teacher or student");
        }
        if (lambda != null && !(lambda >= 0 && lambda <= 1)) {
            throw new IllegalArgumentException("--lambda " + lambda + " must be in [0, 1]");
        }
        if (source != Source.data && data.packing) {
            throw new IllegalArgumentException(
                    "--answers " + source + " does not go with --packing: a prompt needs a row of" + " its own");
        }
        RunFlags.require("--answer-tokens", tokens == null ? 1 : tokens, 1);
    }

    /** The data, with answers written by {@code writer}. */
    RunData<Batch> written(TrainingData data, Pretrained writer, long seed) {
        boolean student = source == Source.student;
        Sampling sampling = Sampling.builder()
                .temperature(temperature != null ? temperature : student ? 1 : 0)
                .maxNewTokens(tokens != null ? tokens : 128)
                .seed(seed)
                .build();
        double share = lambda != null ? lambda : student ? 0.5 : 1;
        return new Written(data, new GeneratedBatches(data.train(), writer.generator(), sampling, share));
    }

    /** Validation is on the data's own answers: what is written changes from step to step. */
    private record Written(TrainingData data, IntFunction<Iterator<Batch>> train) implements RunData<Batch> {
        @Override
        public IntFunction<Iterator<Batch>> valid() {
            return data.valid();
        }

        @Override
        public int count() {
            return data.count();
        }

        @Override
        public int rowLength() {
            return data.rowLength();
        }

        @Override
        public List<Sample> first() {
            return data.first();
        }

        @Override
        public void describe(PrintWriter out, Tokenizer tokenizer) {
            data.describe(out, tokenizer);
        }
    }
}
