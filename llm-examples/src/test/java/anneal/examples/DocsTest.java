package anneal.examples;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** What the pages say is what the build runs: snippets stand in sources of this module, links lead somewhere. */
class DocsTest {
    private static final Path ROOT = Path.of("").toAbsolutePath().getParent();
    private static final Pattern SNIPPET = Pattern.compile("```java\n(.*?)```", Pattern.DOTALL);
    private static final Pattern LINK = Pattern.compile("\\]\\(([^)#:]+?)(#[^)]*)?\\)");

    private static List<Path> pages() throws IOException {
        try (Stream<Path> docs = Files.walk(ROOT.resolve("docs"))) {
            List<Path> pages = new ArrayList<>(
                    docs.filter(p -> p.toString().endsWith(".md")).sorted().toList());
            pages.add(ROOT.resolve("README.md"));
            pages.add(ROOT.resolve("CONTRIBUTING.md"));
            return pages;
        }
    }

    /** Without white space, so that where the formatter breaks lines does not matter. */
    private static String plain(String code) {
        return code.replaceAll("\\s+", "");
    }

    private static String sources() throws IOException {
        try (Stream<Path> files = Files.walk(ROOT.resolve("llm-examples/src"))) {
            return files.filter(p -> p.toString().endsWith(".java"))
                    .map(DocsTest::read)
                    .map(DocsTest::plain)
                    .collect(Collectors.joining("\n"));
        }
    }

    private static String read(Path file) {
        try {
            return Files.readString(file);
        } catch (IOException e) {
            throw new UncheckedIOException(file.toString(), e);
        }
    }

    @Test
    void everyJavaSnippetStandsInCodeThatTheBuildRuns() throws IOException {
        String sources = sources();
        int seen = 0;
        for (Path page : pages()) {
            for (Matcher m = SNIPPET.matcher(read(page)); m.find(); seen++) {
                assertThat(sources).as("snippet of " + page.getFileName()).contains(plain(m.group(1)));
            }
        }
        assertThat(seen).as("snippets seen").isGreaterThanOrEqualTo(9);
    }

    @Test
    void everyLinkInTheRepositoryLeadsSomewhere() throws IOException {
        int seen = 0;
        for (Path page : pages()) {
            for (Matcher m = LINK.matcher(read(page)); m.find(); seen++) {
                assertThat(page.resolveSibling(m.group(1)))
                        .as("link of " + page.getFileName())
                        .exists();
            }
        }
        assertThat(seen).as("links seen").isGreaterThan(10);
    }
}
