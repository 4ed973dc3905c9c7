package anneal.cli;

import anneal.io.Json;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.NoSuchFileException;
import java.util.List;
import java.util.TreeSet;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.ArgGroupSpec;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParseResult.GroupMatch;

/**
 * The {@code anneal} command. Exit codes: 0 done, 1 a defect of ours, 2 bad input (one sentence on standard error), 130 stopped by
 * Ctrl-C (128 and the signal's number).
 */
@Command(
        name = "anneal",
        description =
                "Pretrain, fine-tune, distil, prune, quantise, merge, evaluate and talk to language models on this machine.",
        mixinStandardHelpOptions = true,
        version = "anneal 0.1.0-SNAPSHOT",
        synopsisSubcommandLabel = "COMMAND",
        subcommands = {
            QuickstartCommand.class,
            SftCommand.class,
            PretrainCommand.class,
            ClassifyCommand.class,
            DistillCommand.class,
            GenerateCommand.class,
            ChatCommand.class,
            MergeCommand.class,
            QuantizeCommand.class,
            PruneCommand.class,
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
        if (List.of(args).contains("--verbose")) {
            System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "info"); // see simplelogger.properties
        }
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
            err.println("anneal: " + sentence(e));
            return BAD_INPUT;
        });
        line.setExecutionStrategy(parsed -> {
            requireOnce(parsed);
            return new CommandLine.RunLast().execute(parsed);
        });
        try {
            YamlDefaults.install(line, List.of(args));
        } catch (IllegalArgumentException | UncheckedIOException e) {
            return report(e, err, List.of(args).contains("--verbose"));
        }
        try {
            return line.execute(args);
        } catch (OutOfMemoryError e) {
            err.println("anneal: not enough memory: " + e.getMessage() + ", with a Java heap of "
                    + (Runtime.getRuntime().maxMemory() >> 20) + " MiB; " + RunPlan.RAISE_HEAP);
            return BAD_INPUT;
        }
    }

    /** Picocli takes a flag that is given twice as the start of a second group, which would drop all flags of the first. */
    private static void requireOnce(CommandLine.ParseResult parsed) {
        for (CommandLine.ParseResult r = parsed; r != null; r = r.subcommand()) {
            CommandSpec command = r.commandSpec();
            for (ArgGroupSpec group : command.argGroups()) {
                List<GroupMatch> matches = r.findMatches(group).stream()
                        .flatMap(m -> m.matches().stream())
                        .toList();
                for (OptionSpec option : matches.size() > 1 ? group.options() : List.<OptionSpec>of()) {
                    if (matches.stream()
                                    .filter(m -> !m.matchedValues(option).isEmpty())
                                    .count()
                            > 1) {
                        throw new CommandLine.ParameterException(
                                command.commandLine(),
                                "option '" + option.longestName() + "' should be specified only once");
                    }
                }
            }
        }
    }

    /** What is wrong with the command line, in one sentence that names what was meant, or the file it comes from. */
    private static String sentence(CommandLine.ParameterException e) {
        String message = e.getMessage().lines().findFirst().orElse("wrong arguments");
        if (e.getCommandLine().getDefaultValueProvider() instanceof YamlDefaults file) {
            message = file.origin(e.getArgSpec(), e.getValue()) + message;
        }
        if (e instanceof CommandLine.UnmatchedArgumentException unmatched) {
            CommandSpec command = e.getCommandLine().getCommandSpec();
            TreeSet<String> known = new TreeSet<>(command.optionsMap().keySet());
            known.addAll(command.subcommands().keySet());
            message += Json.nearest(unmatched.getUnmatched().getFirst(), known)
                    .map(name -> ", did you mean " + name + "?")
                    .orElse("");
        }
        return message + " (" + e.getCommandLine().getCommandSpec().qualifiedName() + " --help lists what there is)";
    }

    private static int report(Exception e, PrintWriter err, boolean verbose) {
        if (verbose) {
            e.printStackTrace(err);
        }
        switch (e) {
            case UncheckedIOException io -> err.println("anneal: " + sentence(io));
            case IllegalArgumentException bad -> err.println("anneal: " + bad.getMessage());
            case anneal.io.CheckpointException bad -> err.println("anneal: " + bad.getMessage());
            // What this installation or the state of things does not allow: no ND4J for a factorisation.
            case IllegalStateException bad -> err.println("anneal: " + bad.getMessage());
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
