package anneal.cli;

import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.NoSuchFileException;
import java.util.List;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** The {@code anneal} command. Exit codes: 0 done, 1 a defect of ours, 2 bad input (one sentence on standard error), 130 stopped. */
@Command(
        name = "anneal",
        description = "Pretrain, fine-tune, merge, evaluate and talk to language models on this machine.",
        mixinStandardHelpOptions = true,
        version = "anneal 0.1.0-SNAPSHOT",
        synopsisSubcommandLabel = "COMMAND",
        subcommands = {
            QuickstartCommand.class,
            SftCommand.class,
            PretrainCommand.class,
            GenerateCommand.class,
            ChatCommand.class,
            MergeCommand.class,
            EvalCommand.class,
            InspectCommand.class,
            BenchCommand.class
        },
        footer = {"", "First steps: anneal quickstart", "Help on one command: anneal sft --help"})
public final class Main {
    static final int BAD_INPUT = 2;

    @Option(
            names = "--verbose",
            description = "Print where an error happened, not only what it is.",
            scope = CommandLine.ScopeType.INHERIT)
    private boolean verbose;

    private Main() {}

    /** Runs and exits. */
    public static void main(String[] args) {
        System.exit(run(new PrintWriter(System.out, true), new PrintWriter(System.err, true), args));
    }

    /** Runs one command line and returns its exit code. */
    public static int run(PrintWriter out, PrintWriter err, String... args) {
        Main main = new Main();
        CommandLine line = new CommandLine(main);
        line.setOut(out).setErr(err);
        line.setCaseInsensitiveEnumValuesAllowed(true);
        line.setUsageHelpAutoWidth(true);
        line.setExecutionExceptionHandler((e, l, parsed) -> report(e, err, main.verbose));
        line.setParameterExceptionHandler((e, unused) -> {
            err.println("anneal: " + e.getMessage());
            CommandLine.UnmatchedArgumentException.printSuggestions(e, err);
            err.println("Try: " + e.getCommandLine().getCommandSpec().qualifiedName() + " --help");
            return BAD_INPUT;
        });
        try {
            YamlDefaults.install(line, List.of(args));
        } catch (IllegalArgumentException | UncheckedIOException e) {
            return report(e, err, List.of(args).contains("--verbose"));
        }
        return line.execute(args);
    }

    private static int report(Exception e, PrintWriter err, boolean verbose) {
        if (verbose) {
            e.printStackTrace(err);
        }
        switch (e) {
            case UncheckedIOException io -> err.println("anneal: " + sentence(io));
            case IllegalArgumentException bad -> err.println("anneal: " + bad.getMessage());
            case anneal.io.CheckpointException bad -> err.println("anneal: " + bad.getMessage());
            default -> {
                err.println("anneal: unexpected " + e + (verbose ? "" : " (--verbose shows where)"));
                return 1;
            }
        }
        return BAD_INPUT;
    }

    private static String sentence(UncheckedIOException e) {
        String what = e.getCause() instanceof NoSuchFileException
                ? "no such file"
                : e.getCause().getMessage();
        String message = e.getMessage();
        return message == null || message.contains(String.valueOf(what))
                ? String.valueOf(message)
                : message + ": " + what;
    }
}
