package anneal.generate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.CharRange;
import net.jqwik.api.constraints.Size;
import net.jqwik.api.constraints.StringLength;
import org.junit.jupiter.api.Test;

/** A text cut at its first stop string, whatever pieces it comes in. */
class StopStringsTest {
    @Test
    void whatMightBeginAStopStringIsHeldBack() {
        StopStrings s = new StopStrings(List.of("User:", "###"));
        assertThat(s.feed("Hello Us")).isEqualTo("Hello ");
        assertThat(s.feed("ual ##")).isEqualTo("Usual ");
        assertThat(s.stopped()).isFalse();
        assertThat(s.feed("# more")).isEmpty();
        assertThat(s.stopped()).isTrue();
        assertThat(s.feed("x") + s.finish()).isEmpty();
    }

    @Test
    void whatIsHeldComesOutAtTheEnd() {
        StopStrings s = new StopStrings(List.of("###"));
        assertThat(s.feed("a##")).isEqualTo("a");
        assertThat(s.finish()).isEqualTo("##");
    }

    @Test
    void anEmptyStopStringIsAnError() {
        assertThatThrownBy(() -> new StopStrings(List.of("a", "")))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("stop strings: an empty string would end every text at once");
    }

    @Property
    void piecesDoNotMatter(
            @ForAll @Size(max = 12) List<@StringLength(max = 4) @CharRange(from = 'a', to = 'c') String> pieces,
            @ForAll @Size(min = 1, max = 3)
                    List<@StringLength(min = 1, max = 3) @CharRange(from = 'a', to = 'c') String> stops) {
        String all = String.join("", pieces);
        StopStrings s = new StopStrings(stops);
        StringBuilder out = new StringBuilder();
        int fed = 0;
        for (String piece : pieces) {
            out.append(s.feed(piece));
            fed += piece.length();
            String seen = all.substring(0, fed);
            assertThat(s.stopped()).isEqualTo(stops.stream().anyMatch(seen::contains));
            if (s.stopped()) {
                break;
            }
        }
        out.append(s.finish());
        String seen = all.substring(0, fed);
        int first =
                stops.stream().mapToInt(seen::indexOf).filter(i -> i >= 0).min().orElse(seen.length());
        assertThat(out.toString()).isEqualTo(seen.substring(0, first));
    }
}
