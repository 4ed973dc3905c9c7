package anneal.text;

import java.util.Collection;
import java.util.HashMap;
import java.util.Map;

/** Token spellings by id and back. Ids may have gaps; a spelling has one id and an id one spelling. */
final class Vocabulary {
    private final String[] tokens;
    private final Map<String, Integer> ids;

    private Vocabulary(String[] tokens, Map<String, Integer> ids) {
        this.tokens = tokens;
        this.ids = ids;
    }

    /** The tokens in id order. {@code where} names the file in errors. */
    static Vocabulary of(String[] tokens, String where) {
        Map<String, Integer> ids = HashMap.newHashMap(tokens.length);
        for (int id = 0; id < tokens.length; id++) {
            Integer before = tokens[id] == null ? null : ids.putIfAbsent(tokens[id], id);
            if (before != null) {
                throw new IllegalArgumentException(
                        where + ": token \"" + tokens[id] + "\" has two ids, " + before + " and " + id);
            }
        }
        return new Vocabulary(tokens, ids);
    }

    /** From spelling to id. {@code where} names the file in errors. */
    static Vocabulary of(Map<String, Integer> ids, String where) {
        // Gaps are allowed, but a single wild id must not ask for gigabytes.
        int most = Math.max(1 << 20, 16 * ids.size());
        int size = 0;
        for (Map.Entry<String, Integer> e : ids.entrySet()) {
            if (e.getValue() < 0 || e.getValue() >= most) {
                throw new IllegalArgumentException(where + ": id " + e.getValue() + " of token \"" + e.getKey()
                        + "\" is out of range for a vocabulary of " + ids.size());
            }
            size = Math.max(size, e.getValue() + 1);
        }
        String[] tokens = new String[size];
        for (Map.Entry<String, Integer> e : ids.entrySet()) {
            int id = e.getValue();
            if (tokens[id] != null) {
                throw new IllegalArgumentException(where + ": id " + id + " stands for two tokens, \"" + tokens[id]
                        + "\" and \"" + e.getKey() + "\"");
            }
            tokens[id] = e.getKey();
        }
        return new Vocabulary(tokens, ids);
    }

    /** This vocabulary with the added tokens it does not hold yet. */
    Vocabulary with(Collection<AddedToken> added, String where) {
        Map<String, Integer> more = new HashMap<>();
        for (AddedToken t : added) {
            int known = id(t.content());
            Integer before = known >= 0 ? Integer.valueOf(known) : more.putIfAbsent(t.content(), t.id());
            if (before != null && before != t.id()) {
                throw new IllegalArgumentException(
                        where + ": token \"" + t.content() + "\" has two ids, " + before + " and " + t.id());
            }
        }
        if (more.isEmpty()) {
            return this;
        }
        more.putAll(ids);
        return of(more, where);
    }

    /** Highest id plus one. */
    int size() {
        return tokens.length;
    }

    /** The spelling, or null where the ids have a gap. */
    String token(int id) {
        return tokens[id];
    }

    /** The id, or -1. */
    int id(String token) {
        Integer id = ids.get(token);
        return id == null ? -1 : id;
    }
}
