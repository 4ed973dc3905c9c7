package anneal.text;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;

/** The hand-written scanners against a regex engine. */
class WordPatternTest {
    @Provide
    Arbitrary<String> texts() {
        return TokenizerContract.texts();
    }

    @Property(tries = 1500)
    void cutsWhereTheRegexCuts(@ForAll("texts") String text, @ForAll WordPattern pattern) {
        List<String> scanned = new ArrayList<>();
        char[] c = text.toCharArray();
        for (int i = 0; i < c.length; ) {
            int end = pattern.next(c, i, c.length);
            scanned.add(new String(c, i, end - i));
            i = end;
        }
        Pattern regex = Pattern.compile(pattern.regex(), Pattern.UNICODE_CHARACTER_CLASS | Pattern.UNICODE_CASE);
        List<String> matched = new ArrayList<>();
        Matcher m = regex.matcher(text);
        int done = 0;
        while (m.find()) {
            assertThat(m.start()).as("the patterns leave no gap").isEqualTo(done);
            matched.add(m.group());
            done = m.end();
        }
        assertThat(done).isEqualTo(text.length());
        assertThat(scanned).isEqualTo(matched);
    }
}
