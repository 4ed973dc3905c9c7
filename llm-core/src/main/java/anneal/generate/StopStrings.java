package anneal.generate;

import java.util.List;

/**
 * Ends a text at the first of some strings, although it comes in pieces: what might be the beginning of one is held back.
 *
 * <p>Feed the pieces that a stream decoder gives; print what comes back. The stop string itself is not given out.
 */
public final class StopStrings {
    private final List<String> stops;
    private final StringBuilder held = new StringBuilder();
    private boolean stopped;

    /** Ends at any of these; none may be empty. */
    public StopStrings(List<String> stops) {
        if (stops.stream().anyMatch(String::isEmpty)) {
            throw new IllegalArgumentException("stop strings: an empty string would end every text at once");
        }
        this.stops = List.copyOf(stops);
    }

    /** The text that can be given out after this piece. */
    public String feed(String piece) {
        if (stopped) {
            return "";
        }
        held.append(piece);
        int first = -1;
        for (String stop : stops) {
            int at = held.indexOf(stop);
            first = at >= 0 && (first < 0 || at < first) ? at : first;
        }
        stopped = first >= 0;
        int out = stopped ? first : held.length() - longestBeginning();
        String free = held.substring(0, out);
        held.delete(0, stopped ? held.length() : out);
        return free;
    }

    /** What is held back when the text ends by itself. */
    public String finish() {
        String rest = held.toString();
        held.setLength(0);
        return rest;
    }

    /** True once a stop string came. */
    public boolean stopped() {
        return stopped;
    }

    /** Length of the longest end of the held text with which a stop string begins. */
    private int longestBeginning() {
        int longest = 0;
        for (String stop : stops) {
            for (int n = Math.min(stop.length() - 1, held.length()); n > longest; n--) {
                if (stop.startsWith(held.substring(held.length() - n))) {
                    longest = n;
                }
            }
        }
        return longest;
    }
}
