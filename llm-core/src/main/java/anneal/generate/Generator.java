package anneal.generate;

import anneal.generate.Generation.Stop;
import anneal.model.CausalLm;
import anneal.model.KvCache;
import anneal.model.Tokens;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntPredicate;
import java.util.stream.IntStream;

/**
 * Writes on from prompts, token by token: prefill once, then one step a token with the keys and values of all earlier ones cached.
 *
 * <p>Prompts of a batch may differ in length: shorter ones are padded on the left, where nobody looks. A row's text depends on its
 * prompt, the options and its place in the batch (which seeds its choices), not on the other rows.
 */
public final class Generator {
    /** Tokens of a prompt that are computed at once: bounds the memory of a prefill. */
    private static final int PREFILL = 512;

    private final CausalLm model;
    private final int[] ends;

    /**
     * A generator.
     *
     * @param ends tokens that end a text
     */
    public Generator(CausalLm model, int... ends) {
        this.model = model;
        this.ends = ends.clone();
    }

    /** Writes on from one prompt. */
    public Generation generate(int[] prompt, Sampling sampling) {
        return generate(List.of(prompt), sampling).getFirst();
    }

    /** Writes on from each prompt. */
    public List<Generation> generate(List<int[]> prompts, Sampling sampling) {
        return run(prompts, sampling, null);
    }

    /**
     * Writes on from one prompt and gives each token to a listener as it comes.
     *
     * @param listener true to go on, false to stop
     */
    public Generation stream(int[] prompt, Sampling sampling, IntPredicate listener) {
        return run(List.of(prompt), sampling, listener).getFirst();
    }

    private List<Generation> run(List<int[]> prompts, Sampling sampling, IntPredicate listener) {
        requirePrompts(prompts);
        int[] all = Scores.ends(ends, sampling, model);
        int longest = prompts.stream().mapToInt(p -> p.length).max().orElse(0);
        int limit = model.contextLength() == 0 ? Integer.MAX_VALUE : model.contextLength();
        int capacity = (int) Math.min((long) longest + sampling.maxNewTokens(), limit);
        List<Processor> processors = Processor.of(sampling, all);
        Row[] rows = IntStream.range(0, prompts.size())
                .mapToObj(i -> new Row(prompts.get(i), capacity, new Rng(sampling.seed()).fork(i)))
                .toArray(Row[]::new);
        try (Tape.Pause pause = Tape.pause();
                KvCache cache = model.cache(rows.length, capacity)) {
            Padding padding = Padding.of(prompts, longest);
            step(prefill(prompts, padding, longest, cache), cache, rows, hidden -> {
                choose(hidden, rows, processors, sampling);
                finish(rows, sampling, all, limit, listener);
            });
            for (int t = longest; Arrays.stream(rows).anyMatch(r -> r.stop == null); t++) {
                int[] last = Arrays.stream(rows).mapToInt(Row::last).toArray();
                step(padding.step(last, t), cache, rows, hidden -> {
                    choose(hidden, rows, processors, sampling);
                    finish(rows, sampling, all, limit, listener);
                });
            }
        }
        return Arrays.stream(rows).map(Row::result).toList();
    }

    private interface Then {
        void accept(Tensor hidden);
    }

    private void step(Tokens tokens, KvCache cache, Row[] rows, Then then) {
        try (Memory.Scope scope = Memory.scope()) {
            Tensor hidden = model.hidden(tokens, cache);
            int length = tokens.length();
            int[] lastOfRow = IntStream.range(0, rows.length)
                    .map(b -> b * length + length - 1)
                    .toArray();
            then.accept(Ops.rows(hidden.view(rows.length * length, hidden.rowSize()), lastOfRow));
        }
    }

    /**
     * Computes all but the last piece of the prompts, which it gives back. A model without a limit has angles that depend on
     * the length of what it sees: its prompt is one piece.
     */
    private Tokens prefill(List<int[]> prompts, Padding padding, int longest, KvCache cache) {
        int from = 0, piece = model.contextLength() == 0 ? longest : PREFILL;
        for (; longest - from > piece; from += piece) {
            try (Memory.Scope scope = Memory.scope()) {
                model.hidden(padding.piece(prompts, from, from + piece), cache);
            }
        }
        return padding.piece(prompts, from, longest);
    }

    /** Chooses a token for each row that goes on. Only these positions' logits are ever computed. */
    private void choose(Tensor hidden, Row[] rows, List<Processor> processors, Sampling sampling) {
        Tensor logits = model.logits(hidden);
        int[] chosen = new int[rows.length];
        for (int b = 0; b < rows.length; b++) {
            if (rows[b].stop == null) {
                float[] scores = Scores.row(logits, b);
                for (Processor p : processors) {
                    p.apply(scores, rows[b].history());
                }
                chosen[b] = sampling.isGreedy() ? Cuts.likeliest(scores) : Cuts.draw(scores, rows[b].rng);
            }
        }
        Tensor nll = Ops.nll(logits, chosen, anneal.tensor.NllOptions.PLAIN);
        for (int b = 0; b < rows.length; b++) {
            if (rows[b].stop == null) {
                rows[b].add(chosen[b], -nll.get(b));
            }
        }
    }

    private static void finish(Row[] rows, Sampling sampling, int[] ends, int limit, IntPredicate listener) {
        for (Row row : rows) {
            if (row.stop == null) {
                int token = row.last();
                boolean goesOn = listener == null || listener.test(token);
                if (Arrays.stream(ends).anyMatch(e -> e == token)) {
                    row.stop = Stop.END_TOKEN;
                } else if (!goesOn) {
                    row.stop = Stop.LISTENER;
                } else if (row.added() >= sampling.maxNewTokens()) {
                    row.stop = Stop.LENGTH;
                } else if (row.length >= limit) {
                    row.stop = Stop.CONTEXT;
                }
            }
        }
    }

    private void requirePrompts(List<int[]> prompts) {
        if (prompts.isEmpty()) {
            throw new IllegalArgumentException("generate: there is no prompt");
        }
        for (int[] p : prompts) {
            Scores.requirePrompt(p, model);
        }
    }

    /** A text that grows. */
    private static final class Row {
        private final int[] tokens;
        private final float[] logProbs;
        private final int prompt;
        private final Rng rng;
        private int length;
        private Stop stop;

        Row(int[] prompt, int capacity, Rng rng) {
            this.tokens = Arrays.copyOf(prompt, Math.max(capacity, prompt.length) + 1);
            this.logProbs = new float[tokens.length];
            this.prompt = prompt.length;
            this.length = prompt.length;
            this.rng = rng;
        }

        Processor.History history() {
            return new Processor.History(tokens, length, prompt);
        }

        int last() {
            return tokens[length - 1];
        }

        int added() {
            return length - prompt;
        }

        void add(int token, float logProb) {
            logProbs[length] = logProb;
            tokens[length++] = token;
        }

        Generation result() {
            return new Generation(
                    Arrays.copyOfRange(tokens, prompt, length), Arrays.copyOfRange(logProbs, prompt, length), stop);
        }
    }

    /** Rows aligned at their ends: how many pads each has in front. */
    private record Padding(int[] pads) {
        static Padding of(List<int[]> prompts, int longest) {
            int[] pads = prompts.stream().mapToInt(p -> longest - p.length).toArray();
            return new Padding(Arrays.stream(pads).allMatch(p -> p == 0) ? null : pads);
        }

        Tokens piece(List<int[]> prompts, int from, int to) {
            int length = to - from, n = prompts.size() * length;
            int[] ids = new int[n], positions = new int[n], segments = new int[n];
            for (int i = 0; i < n; i++) {
                int b = i / length, p = from + i % length - (pads == null ? 0 : pads[b]);
                ids[i] = p < 0 ? 0 : prompts.get(b)[p];
                positions[i] = Math.max(0, p);
                segments[i] = p < 0 ? -1 : 0;
            }
            return pads == null
                    ? Tokens.of(ids, prompts.size(), length)
                    : new Tokens(ids, prompts.size(), length, positions, segments);
        }

        Tokens step(int[] ids, int at) {
            if (pads == null) {
                return Tokens.of(ids, ids.length, 1);
            }
            int[] positions = Arrays.stream(pads).map(p -> at - p).toArray();
            return new Tokens(ids, ids.length, 1, positions, new int[ids.length]);
        }
    }
}
