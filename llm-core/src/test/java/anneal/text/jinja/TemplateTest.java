package anneal.text.jinja;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.time.Clock;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Map;
import org.assertj.core.api.SoftAssertions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class TemplateTest {
    private static final ObjectMapper JSON = new ObjectMapper();

    private static String render(String template) {
        return Template.parse(template).render(Map.of());
    }

    /** Made by src/test/python/make_jinja_cases.py with transformers' own environment. */
    @Test
    void rendersWhatTransformersRenders() throws IOException {
        try (InputStream in = TemplateTest.class.getResourceAsStream("cases.json")) {
            JsonNode all = JSON.readTree(in);
            Map<String, Object> context =
                    JSON.convertValue(all.get("context"), new TypeReference<Map<String, Object>>() {});
            SoftAssertions soft = new SoftAssertions();
            for (JsonNode c : all.get("cases")) {
                String template = c.get("template").textValue();
                if (c.has("expected")) {
                    soft.assertThatCode(
                                    () -> assertThat(Template.parse(template).render(context))
                                            .isEqualTo(c.get("expected").textValue()))
                            .as(template)
                            .doesNotThrowAnyException();
                } else {
                    soft.assertThatThrownBy(() -> Template.parse(template).render(context))
                            .as(template)
                            .isInstanceOf(IllegalArgumentException.class)
                            .hasMessageEndingWith(c.get("error").textValue());
                }
            }
            soft.assertAll();
            assertThat(all.get("cases").size()).isGreaterThan(400);
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "{{ x                  | template line 1: unexpected end of template, missing '}}'",
                "{% if x %}            | template line 1: unexpected end of template, looked for 'elif' or 'else' or 'endif'",
                "{% endif %}           | template line 1: unknown tag 'endif'",
                "a{# b                 | template line 1: missing end of comment tag",
                "{{ 'a }}              | template line 1: string without end",
                "{{ 1 + }}             | template line 1: unexpected '}}'",
                "{{ a b }}             | template line 1: expected '}}', found 'b'",
                "{{ (1 }}              | template line 1: unexpected '}'",
                "{{ a ? }}             | template line 1: unexpected character '?'",
                "{% break %}           | template line 1: 'break' outside a loop",
                "{% include 'a' %}     | template line 1: tag 'include' reads other files, which a chat template may not",
                "{% raw %}a            | template line 1: missing end of raw tag",
                "{% for in x %}{% endfor %} | template line 1: expected 'in', found 'x'",
                "{% set true = 1 %}    | template line 1: cannot assign to 'true'",
                "{{ f(a=1, 2) }}       | template line 1: a positional argument must not follow a named one",
                "{{ '\\uZZZZ' }}       | template line 1: malformed escape \\u in a string",
            })
    void syntaxErrorsNameTheLine(String template, String message) {
        assertThatThrownBy(() -> Template.parse(template))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage(message);
    }

    @Test
    void errorsNameTheLineTheyHappenAt() {
        assertThatThrownBy(() -> render("a\n{% if true %}\n\n{{ x.y }}\n{% endif %}"))
                .hasMessage("template line 4: 'x' is undefined");
        assertThatThrownBy(() -> render("a\n\n{{ 1 | nope }}")).hasMessage("template line 3: unknown filter 'nope'");
        assertThatThrownBy(() -> render("{{ 1 is nope }}")).hasMessage("template line 1: unknown test 'nope'");
        assertThatThrownBy(() -> render("{{ 'a' | upper(1) }}"))
                .hasMessage("template line 1: upper() takes at most 0 arguments (1 given)");
        assertThatThrownBy(() -> render("{{ 'a' | trim(zz=1) }}"))
                .hasMessage("template line 1: trim() got an unexpected keyword argument 'zz'");
    }

    @Test
    void unknownFilterOfABranchNotTakenIsNoError() {
        assertThat(render("{% if false %}{{ 1 | nope }}{% endif %}a")).isEqualTo("a");
    }

    /** Each would take hours, gigabytes or the stack without limits. */
    @ParameterizedTest
    @ValueSource(
            strings = {
                "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
                "{{ 'a' * 10 ** 12 }}",
                "{{ [1] * 10 ** 12 }}",
                "{{ 10 ** (10 ** 10) }}",
                "{{ '%999999999d' % 1 }}",
                "{{ '{:99999999}'.format(1) }}",
                "{{ 'a'.center(10 ** 15) }}",
                "{{ 'a'|center(10 ** 9) }}",
                "{{ 'a'|indent(10 ** 9, true) }}",
                "{{ [1]|tojson(indent=10 ** 9) }}",
                "{{ 1|round(10 ** 9) ~ 1.5|round(10 ** 9) ~ 'a' * 10 ** 9 }}",
                "{% set ns = namespace(s='aaaaaaaaaa') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
                "{% set ns = namespace(s='aaaaaaaaaa') %}{% for i in range(99) %}{% set ns.s = ns.s.replace('a', ns.s) %}{% endfor %}",
                "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
                "{% set ns = namespace(a=[1], b=[1]) %}{% for i in range(99) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ ns.a == ns.b }}",
                "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
                "{% set ns = namespace(x=[1]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x|tojson }}",
                "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(99999) %}{% set ns.x = [ns.x] %}{% set ns.y = [ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
                "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
                "{% macro m(x) %}{% for i in x %}{{ m(x) }}{% endfor %}{% endmacro %}{{ m([1, 2]) }}",
                "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
                "{{ [1]|batch(10 ** 12, 0)|list }}",
                "{{ [1]|slice(10 ** 12)|list }}",
                "{{ [3]|map('center', 10 ** 9)|list }}",
                "{{ range(10 ** 12) }}",
                "{% set s = 'a' * 10 ** 6 %}{% for a in range(99999) %}{% if s.find('b') == 0 or 'b' in s or s[0] == 'b' or s is upper %}{% endif %}{% endfor %}",
                "{% set s = '1' * 10 ** 6 ~ 'x' %}{% for a in range(99999) %}{{ s|float }}{{ s|int }}{% endfor %}",
                "{% set s = 'a' * 10 ** 6 %}{% set t = 'a' * 10 ** 6 %}{% for a in range(99999) %}{% if s != t or s < t or s[1:] == 'x' %}{% endif %}{% endfor %}",
            })
    @Timeout(20)
    void hostileTemplatesAreStopped(String template) {
        assertThatThrownBy(() -> render(template))
                .isInstanceOf(IllegalArgumentException.class)
                .message()
                .startsWith("template line 1: ")
                .matches(
                        "(?s).*(steps of work|nested (deeper|too deep)|too large|too big|Range too big|larger than|not supported|more than).*");
    }

    @Test
    void limitsAreTheCallers() {
        assertThatThrownBy(() -> Template.parse("{{ 'a' * 11 }}", new Limits(1000, 100, 10))
                        .render(Map.of()))
                .hasMessage("template line 1: the template writes more than 10 characters");
        assertThatThrownBy(() -> Template.parse("{{ 'a' * 1001 }}", new Limits(1000, 100, 10))
                        .render(Map.of()))
                .hasMessage("template line 1: the template does more than 1000 steps of work");
        assertThatThrownBy(() -> Template.parse("{{ ((((((1)))))) }}", new Limits(1000, 5, 10)))
                .hasMessage("template line 1: nested deeper than 5");
        String deep = "(".repeat(100_000) + "1" + ")".repeat(100_000);
        assertThatThrownBy(() -> render("{{ " + deep + " }}")).hasMessageContaining("nested deeper than 400");
        assertThatThrownBy(() -> render("{{ " + "not ".repeat(100_000) + "1 }}"))
                .hasMessageContaining("nested deeper");
        assertThatThrownBy(() -> render("{{ " + "-".repeat(100_000) + "1 }}")).hasMessageContaining("nested deeper");
        assertThatThrownBy(() -> render("{% if 1 %}".repeat(100_000))).hasMessageContaining("nested deeper");
        assertThatThrownBy(() -> render("{{ 1" + " + 1".repeat(100_000) + " }}"))
                .hasMessageContaining("nested deeper");
        assertThatThrownBy(() -> new Limits(0, 1, 1)).hasMessageContaining("must all be positive");
    }

    @Test
    void timeComesFromTheClock() {
        Clock clock = Clock.fixed(Instant.parse("2024-09-05T03:04:05.678Z"), ZoneOffset.UTC);
        String format = "%d %b %Y|%B %-d|%A %a|%H:%M:%S.%f|%I %p|%j|%y|%F %T|%D|%%|%Z%z|%e|%w%u";
        Template template = Template.parse("{{ strftime_now('" + format + "') }}");
        assertThat(template.render(Map.of(), clock).text())
                .isEqualTo(
                        "05 Sep 2024|September 5|Thursday Thu|03:04:05.678000|03 AM|249|24|2024-09-05 03:04:05|09/05/24|%|| 5|44");
    }

    @Test
    void generationMarkersGivePlaces() {
        String source = "{% for m in ms %}u{% generation %}a{{ m }}{% endgeneration %};{% endfor %}";
        Template template = Template.parse(source);
        assertThat(template.marksGeneration()).isTrue();
        Template.Rendering r = template.render(Map.of("ms", List.of("x", "yy")), Clock.systemUTC());
        assertThat(r.text()).isEqualTo("uax;uayy;");
        assertThat(r.generated()).containsExactly(new Template.Span(1, 3), new Template.Span(5, 8));
        assertThat(r.complete()).isTrue();
        assertThat(Template.parse("a").marksGeneration()).isFalse();
    }

    @Test
    void markersInsideAMacroMoveWithItsText() {
        String macro = "{% macro m(t) %}[{% generation %}{{ t }}{% endgeneration %}]{% endmacro %}";
        Template.Rendering r =
                Template.parse(macro + "ab{{ m('x') }}{{ m('yz') }}").render(Map.of(), Clock.systemUTC());
        assertThat(r.text()).isEqualTo("ab[x][yz]");
        assertThat(r.generated()).containsExactly(new Template.Span(3, 4), new Template.Span(6, 8));
        assertThat(r.complete()).isTrue();
        r = Template.parse(macro + "{{ m('x') | upper }}").render(Map.of(), Clock.systemUTC());
        assertThat(r.complete()).as("the place is lost in a filter").isFalse();
    }

    @Test
    void variablesMustBePlainValues() {
        assertThatThrownBy(() -> Template.parse("{{ x }}").render(Map.of("x", new Object())))
                .hasMessageContaining("must be a string, number, boolean, list, map or null");
        assertThat(Template.parse("{{ x }}{{ y }}").render(Map.of("x", 1, "y", 2.5f)))
                .isEqualTo("12.5");
    }
}
