package anneal.examples;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.GeneralCodingRules.ACCESS_STANDARD_STREAMS;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;
import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.base.DescribedPredicate;
import com.tngtech.archunit.core.domain.Dependency;
import com.tngtech.archunit.core.domain.JavaAccess;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.domain.JavaModifier;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.lang.ArchCondition;
import com.tngtech.archunit.lang.ConditionEvents;
import com.tngtech.archunit.lang.SimpleConditionEvent;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * Who may import whom, and the rules that keep files and types simple.
 *
 * <p>What the table proves: adapters and storage formats know no model; the training loop does not know what a language model is; a
 * tokenizer yields ints, not tensors; quantisation, adapters and alignment do not know one another, so that QLoRA is a composition.
 */
class ArchitectureTest {
    private static final int FEWEST_CLASSES = 150;
    private static final int LONGEST_FILE = 600;
    private static final int LONGEST_KERNEL_FILE = 1_000;

    private static final String ROOT = "anneal";
    private static final Set<String> CORE = Set.of(
            "kernels",
            "kernels.emit",
            "words",
            "tensor",
            "nn",
            "io",
            "model",
            "generate",
            "text",
            "text.jinja",
            "data",
            "train");

    /** The types of kernels that compute nothing: they say which function or precision is meant, and how a matrix is stored. */
    private static final Set<String> WORDS = Set.of("Activation", "Compute", "Matrix", "F32Matrix");

    /** What each package may import of ours; the root package "" and those that start programs may import everything below them. */
    private static final Map<String, Set<String>> MAY_IMPORT = Map.ofEntries(
            Map.entry("kernels", Set.of("words", "kernels.emit")),
            Map.entry("kernels.emit", Set.of()),
            Map.entry("words", Set.of()),
            Map.entry("tensor", Set.of("kernels", "words")),
            Map.entry("nn", Set.of("tensor", "kernels", "words")),
            Map.entry("io", Set.of("tensor")),
            Map.entry("model", Set.of("nn", "tensor", "io", "words")),
            Map.entry("generate", Set.of("model", "tensor")),
            Map.entry("text", Set.of("io", "text.jinja")),
            Map.entry("text.jinja", Set.of()),
            Map.entry("data", Set.of("text", "tensor", "io")),
            Map.entry("train", Set.of("nn", "tensor", "io", "words")),
            Map.entry("", CORE),
            Map.entry("quant", Set.of("nn", "tensor", "io", "kernels", "words")),
            Map.entry("quant.calibrate", Set.of("nn", "tensor", "io", "kernels", "words")),
            Map.entry("quant.post", Set.of("quant", "quant.calibrate", "nn", "tensor", "io", "kernels", "words")),
            Map.entry("distill", Set.of("", "model", "generate", "data", "train", "nn", "tensor", "io", "words")),
            Map.entry("peft", Set.of("nn", "tensor", "io")),
            Map.entry("align", Set.of("", "model", "generate", "data", "text", "train", "nn", "tensor", "io")));

    /** Where programs start: they may import everything but {@code examples}, which nothing imports. */
    private static final Set<String> PROGRAMS = Set.of("cli", "bench", "examples");

    /** Own exceptions; everything else is an exception of the JDK. */
    private static final Set<String> OWN_EXCEPTIONS =
            Set.of("anneal.tensor.ShapeException", "anneal.io.CheckpointException", "anneal.text.jinja.TemplateError");

    private static JavaClasses all;

    @BeforeAll
    static void load() {
        all = new ClassFileImporter()
                .withImportOption(ImportOption.Predefined.DO_NOT_INCLUDE_TESTS)
                .withImportOption(location -> !location.contains("-tests.jar"))
                .withImportOption(location -> !location.contains("/jmh_generated/"))
                .importPackages(ROOT);
    }

    /** "text.jinja" for anneal.text.jinja, "cli" for anneal.cli and all below it, "words" for those of kernels. */
    private static String place(JavaClass c) {
        if (c.getPackageName().equals(ROOT + ".kernels") && WORDS.contains(c.getSimpleName())) {
            return "words";
        }
        String name = c.getPackageName();
        String place = name.equals(ROOT) ? "" : name.substring(ROOT.length() + 1);
        String first = place.split("\\.")[0];
        return PROGRAMS.contains(first) ? first : place;
    }

    private static boolean isOurs(JavaClass c) {
        return c.getPackageName().equals(ROOT) || c.getPackageName().startsWith(ROOT + ".");
    }

    @Test
    void enoughClassesAreSeenForTheRulesToMeanSomething() {
        assertThat(all.size()).isGreaterThanOrEqualTo(FEWEST_CLASSES);
        assertThat(all.stream().map(ArchitectureTest::place))
                .contains("kernels", "tensor", "nn", "io", "model", "text", "train", "examples");
    }

    @Test
    void packagesImportOnlyWhatTheTableAllows() {
        classes()
                .should(new ArchCondition<>("import only what the table allows") {
                    @Override
                    public void check(JavaClass c, ConditionEvents events) {
                        for (Dependency d : c.getDirectDependenciesFromSelf()) {
                            JavaClass to = d.getTargetClass().getBaseComponentType();
                            if (isOurs(to) && !allowed(place(c), place(to))) {
                                events.add(SimpleConditionEvent.violated(c, d.getDescription()));
                            }
                        }
                    }
                })
                .check(all);
    }

    private static boolean allowed(String from, String to) {
        if (from.equals(to)) {
            return true;
        }
        if (PROGRAMS.contains(from)) {
            return !to.equals("examples");
        }
        return MAY_IMPORT.getOrDefault(from, Set.of()).contains(to);
    }

    @Test
    void everyPackageStandsInTheTable() {
        Set<String> known = new java.util.TreeSet<>(MAY_IMPORT.keySet());
        known.addAll(PROGRAMS);
        assertThat(all.stream().map(ArchitectureTest::place)).isSubsetOf(known);
    }

    @Test
    void packagesHaveNoCycles() {
        slices().matching(ROOT + ".(**)").should().beFreeOfCycles().check(all);
    }

    @Test
    void typesAreAbstractOrFinal() {
        classes()
                .that(DescribedPredicate.describe("are named", c -> !c.isAnonymousClass() && !c.isEnum()))
                .and()
                .areNotAnnotatedWith("org.openjdk.jmh.annotations.State") // JMH generates subclasses of its benchmarks
                .should(new ArchCondition<>("be interfaces, abstract, records, enums or final") {
                    @Override
                    public void check(JavaClass c, ConditionEvents events) {
                        boolean closed = c.isInterface()
                                || c.getModifiers().contains(JavaModifier.ABSTRACT)
                                || c.getModifiers().contains(JavaModifier.FINAL);
                        events.add(new SimpleConditionEvent(c, closed, c.getName() + " is neither abstract nor final"));
                    }
                })
                .check(all);
    }

    @Test
    void librariesDoNotPrint() {
        noClasses()
                .that()
                .resideOutsideOfPackages("anneal.cli..", "anneal.bench..", "anneal.examples..")
                .should(ACCESS_STANDARD_STREAMS)
                .check(all);
    }

    @Test
    void librariesLogThroughSlf4jOnly() {
        noClasses()
                .that()
                .resideOutsideOfPackages("anneal.cli..", "anneal.bench..", "anneal.examples..")
                .should()
                .dependOnClassesThat()
                .resideInAnyPackage(
                        "java.util.logging..",
                        "java.lang.System$Logger",
                        "org.apache..",
                        "ch.qos..",
                        "org.slf4j.simple..")
                .check(all);
    }

    @Test
    void ownExceptionsAreFew() {
        assertThat(all.stream()
                        .filter(c -> c.isAssignableTo(Throwable.class))
                        .filter(c -> !c.getModifiers().contains(JavaModifier.PRIVATE))
                        .map(JavaClass::getName))
                .isSubsetOf(OWN_EXCEPTIONS);
    }

    /** A bare {@code assert x} constructs an AssertionError without a message. */
    @Test
    void assertionsSayWhatIsWrong() {
        noClasses()
                .should()
                .callConstructor(AssertionError.class)
                .because("an assertion needs a text")
                .check(all);
        assertThat(all.stream()
                        .flatMap(c -> c.getConstructorCallsFromSelf().stream())
                        .map(JavaAccess::getTargetOwner)
                        .anyMatch(c -> c.isEquivalentTo(AssertionError.class)))
                .as("there are assertions with a text")
                .isTrue();
    }

    @Test
    void filesAreShort() throws IOException {
        List<String> tooLong = new ArrayList<>();
        int files = 0;
        for (Path file : sources()) {
            files++;
            long lines;
            try (Stream<String> all = Files.lines(file)) {
                lines = all.count();
            }
            boolean kernel = file.getParent().endsWith(Path.of("anneal", "kernels"));
            if (lines > (kernel ? LONGEST_KERNEL_FILE : LONGEST_FILE)) {
                tooLong.add(file + ": " + lines + " lines");
            }
        }
        assertThat(tooLong).isEmpty();
        assertThat(files).isGreaterThan(100);
    }

    /** The folder that holds the modules. */
    static Path root() {
        Path root = Path.of("").toAbsolutePath();
        while (!Files.isDirectory(root.resolve("llm-core"))) {
            root = root.getParent();
            assertThat(root).as("a folder that holds the modules").isNotNull();
        }
        return root;
    }

    /** All Java files of all modules. */
    private static List<Path> sources() throws IOException {
        List<Path> files = new ArrayList<>();
        try (Stream<Path> modules = Files.list(root())) {
            for (Path module : modules.toList()) {
                Path source = module.resolve("src");
                if (Files.isDirectory(source)) {
                    try (Stream<Path> tree = Files.walk(source)) {
                        tree.filter(f -> f.toString().endsWith(".java")).forEach(files::add);
                    }
                }
            }
        }
        return files;
    }
}
