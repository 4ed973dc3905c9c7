package anneal;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.fail;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;

/**
 * The folder of reference numbers: {@code -Danneal.golden=DIR}, or the subset that ships as test resources.
 *
 * <p>Cases are found by listing; nothing here knows a case by name.
 */
public final class Golden {
    private Golden() {}

    /** The root folder. */
    public static Path root() {
        return given("anneal.golden").orElseGet(Golden::shipped);
    }

    private static Path shipped() {
        try {
            return Path.of(Golden.class.getResource("/golden").toURI());
        } catch (URISyntaxException e) {
            throw new IllegalStateException(e);
        }
    }

    /** The folder of an option. A relative one starts at the checkout, since Maven runs the tests of a module in the module's folder. */
    private static Optional<Path> given(String option) {
        String dir = System.getProperty(option, "");
        if (dir.isEmpty()) {
            return Optional.empty();
        }
        Path folder = Path.of(System.getProperty("anneal.checkout", "")).resolve(dir);
        assertThat(folder).as("-D" + option).isDirectory();
        return Optional.of(folder.toAbsolutePath().normalize());
    }

    /** The folders directly under {@code area} (for example "models"), sorted; empty if the area is absent. */
    public static List<Path> cases(String area) {
        Path dir = root().resolve(area);
        if (!Files.isDirectory(dir)) {
            return List.of();
        }
        try (Stream<Path> s = Files.list(dir)) {
            return s.filter(Files::isDirectory).sorted().toList();
        } catch (IOException e) {
            throw new UncheckedIOException(dir.toString(), e);
        }
    }

    /** The files of {@code area} whose names match {@code regex}, sorted; fails if there is none. */
    public static List<Path> files(String area, String regex) {
        try (Stream<Path> s = Files.list(root().resolve(area))) {
            List<Path> files = s.filter(f -> f.getFileName().toString().matches(regex))
                    .sorted()
                    .toList();
            assertThat(files).as("%s in %s/%s", regex, root(), area).isNotEmpty();
            return files;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** The folder with a real model and data: {@code -Danneal.shared=DIR}, or the one in which {@code -Danneal.golden=DIR} lies. */
    public static Optional<Path> shared() {
        return given("anneal.shared")
                .or(() -> given("anneal.golden")
                        .map(Path::getParent)
                        .filter(parent -> Files.isDirectory(parent.resolve("models"))));
    }

    /** A folder of the shared folder; without it the test is skipped, or fails if {@code -Danneal.shared} promised it. */
    public static Path shared(String name) {
        return shared().map(dir -> dir.resolve(name)).filter(Files::exists).orElseGet(() -> missing(name));
    }

    /** The real model: the first .gguf file of the shared folder's models, else as {@link #shared(String)}. */
    public static Path realModel() throws IOException {
        try (Stream<Path> files = Files.list(shared("models"))) {
            return files.filter(f -> f.toString().endsWith(".gguf"))
                    .sorted()
                    .findFirst()
                    .orElseGet(() -> missing("models/*.gguf"));
        }
    }

    private static Path missing(String name) {
        given("anneal.shared").ifPresent(dir -> fail("-Danneal.shared: no " + name + " in " + dir));
        String why = "no " + name + ": pass -Danneal.shared=DIR, or -Danneal.golden=DIR with it beside DIR";
        // Surefire says nothing of a class that was skipped before its first test.
        tell("golden skipped, " + why);
        return Assumptions.abort(why);
    }

    /**
     * The closing line of an area; fails when nothing was run.
     *
     * <p>Maven's output scatters the lines between other tests, so target/golden-report.txt of the checkout collects them.
     */
    public static void report(String area, int cases, double worst) {
        tell("golden %-28s %3d cases passed, worst difference %.3g".formatted(area, cases, worst));
        assertThat(cases).as("golden cases run in area " + area).isPositive();
    }

    private static void tell(String line) {
        System.out.println(line);
        String checkout = System.getProperty("anneal.checkout", "");
        if (checkout.isEmpty()) {
            return;
        }
        Path file = Path.of(checkout, "target", "golden-report.txt");
        try {
            Files.createDirectories(file.getParent());
            Files.writeString(file, line + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
