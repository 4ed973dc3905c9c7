package anneal.cli;

import anneal.train.StepReport;
import java.io.PrintWriter;
import java.time.Duration;
import java.util.Locale;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;

/** Shows how a run goes: a bar on a terminal, lines elsewhere. */
final class Progress implements AutoCloseable {
    private final PrintWriter out;
    private final ProgressBar bar;
    private final long started = System.nanoTime();
    private long first = -1;
    private long lastLine = 0;

    /** A display of {@code total} steps of which {@code done} are made. */
    public Progress(PrintWriter out, String name, long total, long done) {
        this.out = out;
        boolean terminal = System.console() != null && System.console().isTerminal();
        bar = terminal
                ? new ProgressBarBuilder()
                        .setTaskName(name)
                        .setInitialMax(total)
                        .startsFrom(done, Duration.ZERO)
                        .setStyle(ProgressBarStyle.ASCII)
                        .setUpdateIntervalMillis(200)
                        .build()
                : null;
    }

    /** One step is done. */
    public void step(StepReport r) {
        if (first < 0) {
            first = r.step() - 1;
        }
        String numbers = String.format(
                Locale.ROOT,
                "loss %.3f  lr %.2e  grad %.2f  %.0f tok/s",
                r.loss(),
                r.rate(),
                r.gradNorm(),
                r.tokensPerSecond());
        if (bar != null) {
            bar.setExtraMessage(" " + numbers);
            bar.stepTo(r.step());
            return;
        }
        long now = System.nanoTime();
        if (r.step() == r.total() || r.step() == first + 1 || now - lastLine > 10_000_000_000L) {
            lastLine = now;
            double perStep = (now - started) * 1e-9 / Math.max(1, r.step() - first);
            out.printf(
                    "step %d/%d  %s  eta %s%n", r.step(), r.total(), numbers, time(perStep * (r.total() - r.step())));
            out.flush();
        }
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
