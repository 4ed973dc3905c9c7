package anneal.text;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * Turns words into token ids. Holds the word cache and the working arrays, so that encoding allocates nothing per word;
 * one thread at a time.
 *
 * <p>Short words merge by looking for the lowest rank again after each merge; long ones (from {@value #LONG} symbols)
 * by a heap over a linked list, in O(n log n), so that a megabyte without a blank is no trap.
 */
final class BpeEncoder implements PreTokenizer.Words {
    private static final int LONG = 64;

    /** Working arrays longer than this are given back after use. */
    private static final int MAX_IDLE = 1 << 16;

    private final BpeModel model;
    private final MergeTable merges;
    private final WordCache cache = new WordCache();
    private TokenBuffer out;

    private int size;
    private int[] symbols = new int[128];
    /** First character of each symbol, and the one after its last, within the word. */
    private int[] firsts = new int[128];

    private int[] lasts = new int[128];
    /** The merge of each symbol with its right neighbour, as {@link MergeTable#find} gives it. */
    private long[] pairs = new long[128];

    private final long[] packed = new long[4 * WordCache.MAX_WORD];

    BpeEncoder(BpeModel model) {
        this.model = model;
        this.merges = model.merges;
    }

    /** Where the tokens of the following words go. */
    void into(TokenBuffer buffer) {
        out = buffer;
    }

    @Override
    public void word(AlignedText text, int from, int to) {
        if (!model.cutsAtBlanks) {
            cut(text, from, to);
            return;
        }
        char[] c = text.chars;
        int start = from;
        for (int i = from + 1; i < to; i++) {
            if (c[i] == SentencePieceNormalizer.BLANK && c[i - 1] != SentencePieceNormalizer.BLANK) {
                cut(text, start, i);
                start = i;
            }
        }
        cut(text, start, to);
    }

    private void cut(AlignedText text, int from, int to) {
        if (to - from > WordCache.MAX_WORD) {
            encode(text.chars, from, to);
            out.reserve(size);
            for (int i = 0; i < size; i++) {
                out.add(symbols[i], text.start(from + firsts[i]), text.end(from + lasts[i] - 1));
            }
            if (symbols.length > MAX_IDLE) {
                size = 0;
                reserve(128);
            }
            return;
        }
        int hash = WordCache.hash(text.chars, from, to);
        int slot = cache.find(hash, text.chars, from, to);
        if (slot >= 0) {
            emit(text, from, cache.tokens, cache.first(slot), cache.count(slot));
            return;
        }
        encode(text.chars, from, to);
        for (int i = 0; i < size; i++) {
            packed[i] = WordCache.token(symbols[i], firsts[i], lasts[i]);
        }
        cache.put(hash, text.chars, from, to, packed, size);
        emit(text, from, packed, 0, size);
    }

    private void emit(AlignedText text, int from, long[] tokens, int first, int count) {
        TokenBuffer o = out;
        o.reserve(count);
        int at = o.size;
        if (text.isOriginal()) {
            for (int i = 0; i < count; i++) {
                long t = tokens[first + i];
                o.ids[at] = (int) (t >>> 32);
                o.starts[at] = from + ((int) t >>> 16);
                o.ends[at++] = from + ((int) t & 0xFFFF);
            }
        } else {
            for (int i = 0; i < count; i++) {
                long t = tokens[first + i];
                o.ids[at] = (int) (t >>> 32);
                o.starts[at] = text.start(from + ((int) t >>> 16));
                o.ends[at++] = text.end(from + ((int) t & 0xFFFF) - 1);
            }
        }
        o.size = at;
    }

    /** Leaves the word's tokens in the working arrays. */
    private void encode(char[] chars, int from, int to) {
        size = 0;
        int whole = model.wholeWord(chars, from, to);
        if (whole >= 0) {
            push(whole, 0, to - from);
            return;
        }
        if (model.rules.byteLevel()) {
            pushBytes(chars, from, to);
        } else {
            pushCharacters(chars, from, to);
        }
        if (size < LONG) {
            mergeShort();
        } else {
            mergeLong();
        }
        if (!model.rules.byteLevel()) {
            resolvePartial(chars, from);
        }
    }

    private void push(int id, int first, int last) {
        if (size == symbols.length) {
            reserve(2 * size);
        }
        symbols[size] = id;
        firsts[size] = first;
        lasts[size++] = last;
    }

    private void reserve(int capacity) {
        symbols = Arrays.copyOf(symbols, capacity);
        firsts = Arrays.copyOf(firsts, capacity);
        lasts = Arrays.copyOf(lasts, capacity);
        pairs = new long[capacity];
    }

    private void pushBytes(char[] chars, int from, int to) {
        for (int i = from; i < to; ) {
            int c = chars[i];
            int next = i + 1;
            if (c >= 0xD800 && c <= 0xDFFF) {
                c = scalar(chars, i, to);
                next = c >= 0x10000 ? i + 2 : next;
            }
            pushUtf8(c, i - from, next - from);
            i = next;
        }
    }

    /** The code point at {@code i}; an unpaired surrogate, which UTF-8 cannot write, is U+FFFD. */
    private static int scalar(char[] chars, int i, int to) {
        int c = Character.codePointAt(chars, i, to);
        return c >= 0xD800 && c <= 0xDFFF ? 0xFFFD : c;
    }

    private void pushUtf8(int c, int first, int last) {
        if (c < 0x80) {
            pushByte(c, first, last);
        } else if (c < 0x800) {
            pushByte(0xC0 | c >> 6, first, last);
            pushByte(0x80 | c & 0x3F, first, last);
        } else if (c < 0x10000) {
            pushByte(0xE0 | c >> 12, first, last);
            pushByte(0x80 | c >> 6 & 0x3F, first, last);
            pushByte(0x80 | c & 0x3F, first, last);
        } else {
            pushByte(0xF0 | c >> 18, first, last);
            pushByte(0x80 | c >> 12 & 0x3F, first, last);
            pushByte(0x80 | c >> 6 & 0x3F, first, last);
            pushByte(0x80 | c & 0x3F, first, last);
        }
    }

    private void pushByte(int b, int first, int last) {
        int id = model.byteIds[b];
        if (id >= 0) {
            push(id, first, last);
        } else {
            pushUnknown(first, last);
        }
    }

    /** A character that the vocabulary lacks: the unknown token, or nothing when there is none. */
    private void pushUnknown(int first, int last) {
        int unknown = model.rules.unknown();
        if (unknown < 0) {
            return;
        }
        if (model.rules.fuseUnknown() && size > 0 && symbols[size - 1] == unknown && lasts[size - 1] >= first) {
            lasts[size - 1] = last;
        } else {
            push(unknown, first, last);
        }
    }

    private void pushCharacters(char[] chars, int from, int to) {
        for (int i = from; i < to; ) {
            int c = scalar(chars, i, to);
            int next = i + Character.charCount(c);
            int id = model.character(c);
            if (id >= 0) {
                push(id, i - from, next - from);
            } else {
                pushMissing(c, i - from, next - from);
            }
            i = next;
        }
    }

    private void pushMissing(int c, int first, int last) {
        if (model.rules.byteFallback() && hasBytes(c)) {
            pushUtf8(c, first, last);
        } else {
            pushUnknown(first, last);
        }
    }

    private boolean hasBytes(int c) {
        if (model.hasAllBytes) {
            return true;
        }
        boolean all = true;
        for (byte b : Character.toString(c).getBytes(StandardCharsets.UTF_8)) {
            all &= model.byteIds[b & 0xFF] >= 0;
        }
        return all;
    }

    /** Characters that begin tokens without being one, and were not merged, are unknown after all. */
    private void resolvePartial(char[] chars, int from) {
        int limit = model.vocabulary.size();
        int n = size;
        int firstPartial = 0;
        while (firstPartial < n && symbols[firstPartial] < limit) {
            firstPartial++;
        }
        if (firstPartial == n) {
            return;
        }
        int[] ids = Arrays.copyOfRange(symbols, firstPartial, n);
        int[] begins = Arrays.copyOfRange(firsts, firstPartial, n);
        int[] stops = Arrays.copyOfRange(lasts, firstPartial, n);
        size = firstPartial;
        for (int i = 0; i < ids.length; i++) {
            if (ids[i] < limit) {
                push(ids[i], begins[i], stops[i]);
            } else {
                pushMissing(Character.codePointAt(chars, from + begins[i], from + stops[i]), begins[i], stops[i]);
            }
        }
    }

    private void mergeShort() {
        int[] s = symbols;
        long[] p = pairs;
        int n = size;
        for (int i = 0; i + 1 < n; i++) {
            p[i] = merges.find(s[i], s[i + 1]);
        }
        while (n > 1) {
            int best = 0;
            for (int i = 1; i + 1 < n; i++) {
                if (p[i] >>> 32 < p[best] >>> 32) {
                    best = i;
                }
            }
            if (p[best] == MergeTable.NONE) {
                break;
            }
            s[best] = MergeTable.merged(p[best]);
            lasts[best] = lasts[best + 1];
            int tail = n - best - 2;
            System.arraycopy(s, best + 2, s, best + 1, tail);
            System.arraycopy(firsts, best + 2, firsts, best + 1, tail);
            System.arraycopy(lasts, best + 2, lasts, best + 1, tail);
            System.arraycopy(p, best + 2, p, best + 1, tail);
            n--;
            if (best > 0) {
                p[best - 1] = merges.find(s[best - 1], s[best]);
            }
            if (best + 1 < n) {
                p[best] = merges.find(s[best], s[best + 1]);
            }
        }
        size = n;
    }

    private void mergeLong() {
        int n = size;
        int[] previous = new int[n];
        int[] next = new int[n];
        LongHeap heap = new LongHeap(n);
        for (int i = 0; i < n; i++) {
            previous[i] = i - 1;
            next[i] = i + 1 < n ? i + 1 : -1;
            pairs[i] = i + 1 < n ? merges.find(symbols[i], symbols[i + 1]) : MergeTable.NONE;
            if (pairs[i] != MergeTable.NONE) {
                heap.push(entry(pairs[i], i));
            }
        }
        while (!heap.isEmpty()) {
            long top = heap.pop();
            int i = (int) top;
            // An entry is stale when its symbol is gone or its pair has changed.
            if (pairs[i] == MergeTable.NONE || MergeTable.rank(pairs[i]) != (int) (top >>> 32)) {
                continue;
            }
            int right = next[i];
            symbols[i] = MergeTable.merged(pairs[i]);
            lasts[i] = lasts[right];
            pairs[right] = MergeTable.NONE;
            next[i] = next[right];
            if (next[i] >= 0) {
                previous[next[i]] = i;
                pairs[i] = merges.find(symbols[i], symbols[next[i]]);
            } else {
                pairs[i] = MergeTable.NONE;
            }
            if (pairs[i] != MergeTable.NONE) {
                heap.push(entry(pairs[i], i));
            }
            int left = previous[i];
            if (left >= 0) {
                pairs[left] = merges.find(symbols[left], symbols[i]);
                if (pairs[left] != MergeTable.NONE) {
                    heap.push(entry(pairs[left], left));
                }
            }
        }
        int kept = 0;
        for (int i = 0; i >= 0; i = next[i]) {
            symbols[kept] = symbols[i];
            firsts[kept] = firsts[i];
            lasts[kept++] = lasts[i];
        }
        size = kept;
    }

    /** Rank first, then position: the heap's order. */
    private static long entry(long pair, int position) {
        return pair & 0xFFFFFFFF00000000L | position;
    }
}
