package anneal.cli;

import anneal.train.StepReport;
import java.io.PrintWriter;
import java.time.Duration;
import java.util.Locale;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;

/** Shows how a run goes: a bar on a terminal, lines elsewhere. */
final class Progress implements AutoCloseable {
    /** Columns of a bar: more would show no more. */
    private static final int BAR = 30;

    /** A total that is told with the first step. */
    static final long UNKNOWN = 0;

    /** Nothing is shown of a task without numbers of its own before this, and then not more often than every ten seconds. */
    private static final long SHORT = 2_000_000_000L, SELDOM = 10_000_000_000L;

    private final PrintWriter out;
    private final String name;
    private final ProgressBar bar;
    private final long started = System.nanoTime();
    /** Steps made before this run, and whether one of this run was told. */
    private final long before;

    private boolean begun;
    private long done;
    private long total;
    /** As if there had been a line, so that the first one comes after {@link #SHORT}. */
    private long lastLine = started + SHORT - SELDOM;

    /** A display of {@code total} steps of which {@code done} are made. */
    public Progress(PrintWriter out, String name, long total, long done) {
        this.out = out;
        this.name = name;
        this.done = done;
        this.before = done;
        this.total = total;
        boolean terminal = System.console() != null && System.console().isTerminal();
        bar = terminal
                ? new ProgressBarBuilder()
                        .setTaskName(name)
                        .setInitialMax(total)
                        .startsFrom(done, Duration.ZERO)
                        .setUpdateIntervalMillis(200)
                        .setRenderer((state, columns) ->
                                bar(name, state.getCurrent(), state.getMax(), state.getExtraMessage(), columns))
                        .build()
                : null;
    }

    /** One step is done. */
    public void step(StepReport r) {
        long now = System.nanoTime();
        String numbers = numbers(r, left((now - started) * 1e-9, r));
        if (bar != null) {
            bar.setExtraMessage(numbers);
            bar.stepTo(r.step());
            return;
        }
        if (r.step() == r.total() || !begun || now - lastLine > SELDOM) {
            begun = true;
            lastLine = now;
            out.printf("step %d/%d  %s%n", r.step(), r.total(), numbers);
            out.flush();
        }
    }

    /** Seconds that the rest takes, after so many for all steps of this run up to this report, of which some were not told. */
    double left(double seconds, StepReport r) {
        return seconds / Math.max(1, r.step() - before) * (r.total() - r.step());
    }

    /** A layer is done; see {@link anneal.nn.LayerWatch}. */
    public void layer(String path, int done, int total) {
        done(path, done, total);
    }

    /** {@code made} of {@code all} pieces of a task are done, {@code what} was the last. */
    public void done(String what, long made, long all) {
        done = made;
        total = all;
        double perPiece = (System.nanoTime() - started) * 1e-9 / Math.max(1, made);
        show("eta " + time(perPiece * (all - made)) + "  " + what);
    }

    /** A part of the next piece is done. */
    public void busy(String what) {
        show(what);
    }

    private void show(String what) {
        long now = System.nanoTime();
        if (bar != null) {
            bar.maxHint(total);
            bar.setExtraMessage(what);
            bar.stepTo(done);
        } else if (now - lastLine > SELDOM) {
            lastLine = now;
            out.println(start(name, done, total) + " " + what);
            out.flush();
        }
    }

    /** What one looks at first comes first: a narrow terminal cuts off the end. */
    static String numbers(StepReport r, double secondsLeft) {
        return String.format(
                Locale.ROOT,
                "loss %.3f  %.0f tok/s  eta %s  lr %.2e  grad %.2f",
                r.loss(),
                r.tokensPerSecond(),
                time(secondsLeft),
                r.rate(),
                r.gradNorm());
    }

    /** One line of a terminal: name, steps, a bar if there is room for one beside the numbers, and the numbers. */
    static String bar(String name, long done, long total, String numbers, int columns) {
        String start = start(name, done, total);
        int room = Math.min(BAR, columns - start.length() - numbers.length() - 3);
        String middle = "";
        if (room >= 5) {
            int full = (int) (room * done / Math.max(1, total));
            middle = "[" + "=".repeat(full) + " ".repeat(room - full) + "] ";
        }
        String line = start + middle + numbers;
        return line.substring(0, Math.min(columns, line.length()));
    }

    /** The name, and how far it is if it is known how far it is to go. */
    private static String start(String name, long done, long total) {
        return total == UNKNOWN ? name + " " : name + " " + done + "/" + total + " ";
    }

    /** A remark between two steps. */
    public void say(String line) {
        if (bar != null) {
            bar.pause();
            out.println();
        }
        out.println(line);
        out.flush();
        if (bar != null) {
            bar.resume();
        }
    }

    /** Seconds as 1:05 or 2:03:04. */
    public static String time(double seconds) {
        Duration d = Duration.ofSeconds(Math.round(seconds));
        return d.toHours() > 0
                ? String.format("%d:%02d:%02d", d.toHours(), d.toMinutesPart(), d.toSecondsPart())
                : String.format("%d:%02d", d.toMinutes(), d.toSecondsPart());
    }

    @Override
    public void close() {
        if (bar != null) {
            bar.close();
        }
    }
}
