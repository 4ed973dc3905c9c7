package anneal.examples;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/**
 * Code in the documentation is code of a program here: a block after {@code <!-- snippet: CustomOp op -->} equals the lines of
 * CustomOp.java between {@code // snippet: op} and {@code // end}.
 */
class DocSnippetsTest {
    private static final Pattern BLOCK =
            Pattern.compile("<!-- snippet: (\\w+) (\\w+) -->\n```java\n(.*?)```", Pattern.DOTALL);
    private static final Pattern REGION = Pattern.compile(" *// snippet: (\\w+)\n(.*?) *// end\n", Pattern.DOTALL);

    private record Snippet(Path page, String program, String name, String code) {}

    @Test
    void codeInTheDocumentationIsCodeThatRuns() throws IOException {
        List<Snippet> snippets = snippets();
        assertThat(snippets).extracting(Snippet::name).contains("op", "train");
        for (Snippet s : snippets) {
            assertThat(s.code.strip())
                    .as("%s: snippet %s of %s", s.page.getFileName(), s.name, s.program)
                    .isEqualTo(region(s.program, s.name));
        }
    }

    @Test
    void everySnippetThatIsNamedIsRead() throws IOException {
        int named = 0;
        for (Path page : pages()) {
            named += Files.readString(page).split("<!-- snippet:", -1).length - 1;
        }
        assertThat(snippets()).hasSize(named);
    }

    private static List<Snippet> snippets() throws IOException {
        List<Snippet> all = new ArrayList<>();
        for (Path page : pages()) {
            Matcher m = BLOCK.matcher(Files.readString(page));
            while (m.find()) {
                all.add(new Snippet(page, m.group(1), m.group(2), m.group(3)));
            }
        }
        return all;
    }

    private static List<Path> pages() throws IOException {
        Path docs = ArchitectureTest.root().resolve("docs");
        try (Stream<Path> files = Files.list(docs)) {
            return files.filter(f -> f.toString().endsWith(".md")).sorted().toList();
        }
    }

    private static String region(String program, String name) throws IOException {
        Path source = ArchitectureTest.root()
                .resolve("llm-examples/src/main/java/anneal/examples")
                .resolve(program + ".java");
        Matcher m = REGION.matcher(Files.readString(source));
        while (m.find()) {
            if (m.group(1).equals(name)) {
                return m.group(2).stripTrailing().stripIndent();
            }
        }
        throw new AssertionError(source + " has no snippet " + name);
    }
}
