package anneal.text;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Collection;
import java.util.List;

/** Finds added tokens in text: leftmost first, longest of those that start at one place. */
final class AddedTokens {
    /** What lies between two found tokens, and the tokens. */
    interface Parts {
        void text(int from, int to);

        void token(int id, int from, int to);
    }

    private final List<AddedToken> all;
    private final BitSet special = new BitSet();
    private final Matcher[] matchers = new Matcher[4];

    /** {@code normalizer} (or null) is applied to the spelling of tokens that are looked for in normalised text. */
    AddedTokens(Collection<AddedToken> tokens, Normalizer normalizer) {
        all = List.copyOf(tokens);
        for (int i = 0; i < matchers.length; i++) {
            matchers[i] = new Matcher();
        }
        for (AddedToken t : all) {
            if (t.special()) {
                special.set(t.id());
            }
            String content = t.normalized() && normalizer != null ? normalizer.spelling(t.content()) : t.content();
            if (content.isEmpty()) {
                continue;
            }
            matchers[index(t.normalized(), true)].add(content, t);
            if (!t.special()) {
                matchers[index(t.normalized(), false)].add(content, t);
            }
        }
    }

    List<AddedToken> all() {
        return all;
    }

    boolean isSpecial(int id) {
        return id >= 0 && special.get(id);
    }

    /** The matcher for the original or the normalised text, with or without the special tokens. */
    Matcher matcher(boolean normalized, boolean parseSpecial) {
        return matchers[index(normalized, parseSpecial)];
    }

    private static int index(boolean normalized, boolean parseSpecial) {
        return (normalized ? 2 : 0) + (parseSpecial ? 1 : 0);
    }

    /** A character trie. */
    static final class Matcher {
        private final Node root = new Node();

        boolean isEmpty() {
            return root.keys.length == 0;
        }

        private void add(String content, AddedToken token) {
            Node node = root;
            for (int i = 0; i < content.length(); i++) {
                node = node.childOrNew(content.charAt(i));
            }
            if (node.token == null) {
                node.token = token;
            }
        }

        /** Cuts {@code text} at the tokens found in it. */
        void split(AlignedText text, Parts parts) {
            char[] c = text.chars;
            int done = text.from;
            for (int i = text.from; i < text.to; ) {
                Node node = root.child(c[i]);
                if (node == null) {
                    i++;
                    continue;
                }
                AddedToken found = null;
                int end = i;
                for (int j = i + 1; node != null; j++) {
                    if (node.token != null) {
                        found = node.token;
                        end = j;
                    }
                    node = j < text.to ? node.child(c[j]) : null;
                }
                if (found == null) {
                    i++;
                    continue;
                }
                if (found.singleWord() && touchesWord(text, i, end)) {
                    i = end;
                    continue;
                }
                int from = i;
                if (found.lstrip()) {
                    while (from > done && CharClass.isWhitespace(c[from - 1])) {
                        from--;
                    }
                }
                if (found.rstrip()) {
                    end = CharClass.run(c, end, text.to, CharClass.WHITESPACE);
                }
                if (from > done) {
                    parts.text(done, from);
                }
                parts.token(found.id(), from, end);
                done = end;
                i = end;
            }
            if (done < text.to) {
                parts.text(done, text.to);
            }
        }

        private static boolean touchesWord(AlignedText text, int from, int to) {
            return from > text.from && CharClass.isWord(Character.codePointBefore(text.chars, from, text.from))
                    || to < text.to && CharClass.isWord(text.codePointAt(to));
        }
    }

    private static final class Node {
        private char[] keys = {};
        private final List<Node> children = new ArrayList<>(1);
        private AddedToken token;

        Node child(char c) {
            int i = Arrays.binarySearch(keys, c);
            return i < 0 ? null : children.get(i);
        }

        Node childOrNew(char c) {
            int i = Arrays.binarySearch(keys, c);
            if (i >= 0) {
                return children.get(i);
            }
            int at = -i - 1;
            char[] grown = new char[keys.length + 1];
            System.arraycopy(keys, 0, grown, 0, at);
            grown[at] = c;
            System.arraycopy(keys, at, grown, at + 1, keys.length - at);
            keys = grown;
            Node node = new Node();
            children.add(at, node);
            return node;
        }
    }
}
