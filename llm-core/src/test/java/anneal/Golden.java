package anneal;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * The folder of reference numbers: {@code -Danneal.golden=DIR}, or the subset that ships as test resources.
 *
 * <p>Cases are found by listing; nothing here knows a case by name.
 */
public final class Golden {
    private Golden() {}

    /** The root folder. */
    public static Path root() {
        String dir = System.getProperty("anneal.golden", "");
        if (!dir.isEmpty()) {
            return Path.of(dir);
        }
        try {
            return Path.of(Golden.class.getResource("/golden").toURI());
        } catch (URISyntaxException e) {
            throw new IllegalStateException(e);
        }
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

    /** The shared folder with the real model and data ({@code -Danneal.shared=DIR}), if it was handed in. */
    public static Optional<Path> shared() {
        String dir = System.getProperty("anneal.shared", "");
        return dir.isEmpty() ? Optional.empty() : Optional.of(Path.of(dir));
    }

    /** The closing line of an area; fails when nothing was run. */
    public static void report(String area, int cases, double worst) {
        System.out.printf("golden %-28s %3d cases passed, worst difference %.3g%n", area, cases, worst);
        assertThat(cases).as("golden cases run in area " + area).isPositive();
    }
}
