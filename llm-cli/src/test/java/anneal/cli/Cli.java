package anneal.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;

/** Runs the command as its users do and tells what came of it. */
record Cli(int code, String out, String err) {
    /** Runs one command line. */
    static Cli run(Object... args) {
        StringWriter out = new StringWriter(), err = new StringWriter();
        String[] strings = Stream.of(args).map(Object::toString).toArray(String[]::new);
        int code = Main.run(new PrintWriter(out, true), new PrintWriter(err, true), strings);
        return new Cli(code, out.toString(), err.toString());
    }

    /** Runs one command line that must succeed. */
    static Cli ok(Object... args) {
        Cli run = run(args);
        assertThat(run.code).as(run.err + run.out).isZero();
        assertThat(run.err).isEmpty();
        return run;
    }

    /** Runs one command line that must end with exit code 2 and one sentence that holds all of {@code parts}. */
    static String bad(List<?> args, String... parts) {
        Cli run = run(args.toArray());
        assertThat(run.code).as(run.err + run.out).isEqualTo(2);
        assertThat(run.err.strip()).startsWith("anneal: ").doesNotContain("\n").contains(parts);
        assertThat(run.err).doesNotContain("Exception", "null");
        return run.err;
    }

    /** The command line of a JVM of its own with these options that runs the command with these arguments. */
    static List<String> java(List<String> options, Object... args) {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(List.of("--add-modules", "jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED"));
        command.addAll(options);
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), "anneal.cli.Main"));
        Stream.of(args).map(Object::toString).forEach(command::add);
        return command;
    }

    /** A small LoRA run on the tiny model. */
    static List<Object> sft(Path model, Path data, Path output, int steps) {
        return with(tune(model, data, output, steps), "--rank", 2);
    }

    /** A small run on the tiny model of what the flags behind say. */
    static List<Object> tune(Path model, Path data, Path output, int steps) {
        return List.of(
                "sft",
                "--model",
                model,
                "--data",
                data,
                "--output",
                output,
                "--iters",
                steps,
                "--batch-size",
                2,
                "--max-seq-length",
                64);
    }

    /** The same arguments with more behind; a flag with a value that is there already is replaced. */
    static List<Object> with(List<?> args, Object... more) {
        List<Object> all = new ArrayList<>(args);
        for (Object flag : more) {
            int at = flag.toString().startsWith("--") ? all.indexOf(flag) : -1;
            if (at >= 0) {
                all.subList(at, at + 2).clear();
            }
        }
        all.addAll(List.of(more));
        return all;
    }

    /** Names and contents of all files under a folder. */
    static Map<String, String> contents(Path folder) {
        Map<String, String> contents = new TreeMap<>();
        try (Stream<Path> files = Files.walk(folder)) {
            for (Path f : files.filter(Files::isRegularFile).toList()) {
                contents.put(
                        folder.relativize(f).toString(),
                        Files.size(f) + ":" + java.util.Arrays.hashCode(Files.readAllBytes(f)));
            }
            return contents;
        } catch (IOException e) {
            throw new UncheckedIOException(folder.toString(), e);
        }
    }
}
