package anneal.generate;

import anneal.model.CausalLm;
import anneal.model.KvCache;
import anneal.model.Tokens;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;

/**
 * Beam search: keeps the best beginnings, by the sum of their log-probabilities, until no running one can beat the finished.
 *
 * <p>A finished text of n new tokens scores sum / n^lengthPenalty. Results equal transformers': each step looks at the best
 * max(2, 1 + end tokens) times as many candidates as there are beams, and only the first of them, as many as beams, can finish.
 */
public final class BeamSearch {
    /** When the search ends. */
    public enum EarlyStopping {
        /** When the best running beam, scored at its present length, is no better than the worst finished. */
        HEURISTIC,
        /** As soon as there are as many finished texts as beams. */
        FIRST,
        /** When the best running beam cannot become better, scored at the best length it could have. */
        NEVER
    }

    /**
     * How to search.
     *
     * @param beams kept at each step
     * @param lengthPenalty exponent of the length; above 0 favours long texts
     * @param returned how many texts are given back, at most {@code beams}
     */
    public record Options(int beams, double lengthPenalty, EarlyStopping earlyStopping, int returned) {
        public Options {
            if (beams < 1 || returned < 1 || returned > beams) {
                throw new IllegalArgumentException("beam search: " + returned + " texts of " + beams
                        + " beams: must be at least 1 and at most so many");
            }
        }

        /** One text, length penalty 1. */
        public static Options of(int beams) {
            return new Options(beams, 1, EarlyStopping.HEURISTIC, 1);
        }
    }

    /**
     * A finished text.
     *
     * @param tokens new tokens, the end token included
     * @param score sum of log-probabilities divided by length^lengthPenalty
     */
    public record Beam(int[] tokens, double score) {}

    private record Running(int[] tokens, float score) {}

    private record Candidate(int beam, int token, float score, boolean done) {}

    /** transformers' stand-in for minus infinity, which sums may contain. */
    private static final float OUT = -1e9f;

    private final CausalLm model;
    private final int[] ends;

    /** A search with these end tokens. */
    public BeamSearch(CausalLm model, int... ends) {
        this.model = model;
        this.ends = ends.clone();
    }

    /**
     * The best texts that go on from a prompt, best first.
     *
     * @param constraints penalties, bans, lengths and end tokens; its sampling options play no part
     */
    public List<Beam> search(int[] prompt, Options options, Sampling constraints) {
        Scores.requirePrompt(prompt, model);
        int[] all = Scores.ends(ends, constraints, model);
        int limit = model.contextLength() == 0 ? Integer.MAX_VALUE : model.contextLength();
        int most = (int) Math.min(constraints.maxNewTokens(), (long) limit - prompt.length);
        return new Search(prompt, options, all, Processor.constraints(constraints, all), most).run();
    }

    private final class Search {
        private final int[] prompt;
        private final Options options;
        private final int[] ends;
        private final List<Processor> processors;
        private final int most;
        private List<Running> running = new ArrayList<>();
        private List<Running> before = List.of();
        private List<Beam> finished = new ArrayList<>();
        private boolean canImprove = true;

        Search(int[] prompt, Options options, int[] ends, List<Processor> processors, int most) {
            this.prompt = prompt;
            this.options = options;
            this.ends = ends;
            this.processors = processors;
            this.most = most;
            for (int i = 0; i < options.beams; i++) {
                running.add(new Running(prompt, i == 0 ? 0 : OUT));
            }
        }

        List<Beam> run() {
            try (Tape.Pause pause = Tape.pause();
                    KvCache cache = model.cache(options.beams, prompt.length + most)) {
                float[][] scores = begin(cache);
                for (int added = 1; ; added++) {
                    List<Candidate> best = best(scores);
                    boolean allDone = best.stream().allMatch(Candidate::done);
                    int[] from = advance(best);
                    finish(best, added);
                    canImprove &= running.getFirst().score / penalty(hypothetical(added)) > worstFinished();
                    boolean full = options.earlyStopping == EarlyStopping.FIRST && finished.size() == options.beams;
                    if (!canImprove || full || allDone) {
                        return finished.subList(0, Math.min(options.returned, finished.size()));
                    }
                    cache.reorder(from);
                    scores = next(cache);
                }
            }
        }

        private double penalty(int length) {
            return Math.pow(length, options.lengthPenalty);
        }

        private int hypothetical(int added) {
            return options.earlyStopping == EarlyStopping.NEVER && options.lengthPenalty > 0 ? most : added;
        }

        private double worstFinished() {
            return finished.size() < options.beams ? OUT : finished.getLast().score;
        }

        /** Computes the prompt once and gives each beam a copy of its keys and values. */
        private float[][] begin(KvCache cache) {
            try (Memory.Scope scope = Memory.scope();
                    KvCache one = model.cache(1, prompt.length)) {
                Tensor hidden = model.hidden(Tokens.of(prompt), one);
                cache.copy(one);
                float[] first = logProbs(
                        Ops.rows(hidden.view(prompt.length, hidden.rowSize()), new int[] {prompt.length - 1}))[0];
                float[][] all = new float[options.beams][];
                Arrays.setAll(all, i -> first.clone());
                return all;
            }
        }

        private float[][] next(KvCache cache) {
            int[] last = running.stream()
                    .mapToInt(r -> r.tokens[r.tokens.length - 1])
                    .toArray();
            try (Memory.Scope scope = Memory.scope()) {
                return logProbs(model.hidden(Tokens.of(last, last.length, 1), cache));
            }
        }

        private float[][] logProbs(Tensor hidden) {
            Tensor logProbs = Ops.logSoftmax(model.logits(hidden));
            float[][] rows = new float[logProbs.rowCount()][];
            Arrays.setAll(rows, b -> Scores.row(logProbs, b));
            for (float[] row : rows) {
                if (Float.isNaN(row[0])) { // one score that is not a number makes them all so
                    throw new IllegalArgumentException("generate: the model's scores are not numbers (NaN)");
                }
            }
            return rows;
        }

        /** The best continuations of all beams together. */
        private List<Candidate> best(float[][] scores) {
            int keep = Math.max(2, 1 + ends.length) * options.beams;
            boolean last = running.getFirst().tokens.length + 1 - prompt.length >= most;
            List<Candidate> best = new ArrayList<>();
            for (int b = 0; b < scores.length; b++) {
                Running beam = running.get(b);
                for (Processor p : processors) {
                    p.apply(scores[b], new Processor.History(beam.tokens, beam.tokens.length, prompt.length));
                }
                for (int t = 0; t < scores[b].length; t++) {
                    float score = scores[b][t] + beam.score;
                    if (best.size() < keep || score > best.getLast().score) {
                        insert(best, new Candidate(b, t, score, last || isEnd(t)), keep);
                    }
                }
            }
            return best;
        }

        private static void insert(List<Candidate> best, Candidate c, int keep) {
            int at = best.size();
            while (at > 0 && best.get(at - 1).score < c.score) {
                at--;
            }
            best.add(at, c);
            if (best.size() > keep) {
                best.removeLast();
            }
        }

        private boolean isEnd(int token) {
            return Arrays.stream(ends).anyMatch(e -> e == token);
        }

        /** The best that are not done go on; gives back which beam each came from. */
        private int[] advance(List<Candidate> best) {
            List<Candidate> order = new ArrayList<>(best);
            order.sort(Comparator.comparingDouble(c -> -running(c)));
            List<Running> next = new ArrayList<>();
            int[] from = new int[options.beams];
            for (int i = 0; i < options.beams; i++) {
                Candidate c = order.get(i);
                from[i] = c.beam;
                next.add(new Running(extended(c), running(c)));
            }
            before = running;
            running = next;
            return from;
        }

        private static float running(Candidate c) {
            return c.done ? c.score + OUT : c.score;
        }

        private int[] extended(Candidate c) {
            int[] tokens = running.get(c.beam).tokens;
            int[] longer = Arrays.copyOf(tokens, tokens.length + 1);
            longer[tokens.length] = c.token;
            return longer;
        }

        /** Takes what is done among the first candidates into the finished texts, and keeps the best of those. */
        private void finish(List<Candidate> best, int added) {
            boolean closed =
                    !canImprove || options.earlyStopping == EarlyStopping.FIRST && finished.size() == options.beams;
            for (Candidate c : best.subList(0, closed ? 0 : options.beams)) {
                if (c.done) {
                    int[] start = before.get(c.beam).tokens;
                    int[] tokens = Arrays.copyOfRange(start, prompt.length, start.length + 1);
                    tokens[tokens.length - 1] = c.token;
                    finished.add(new Beam(tokens, c.score / penalty(added)));
                }
            }
            finished.sort(Collections.reverseOrder(Comparator.comparingDouble(Beam::score)));
            finished = new ArrayList<>(finished.subList(0, Math.min(options.beams, finished.size())));
        }
    }
}
