package anneal.text;

import java.util.Arrays;

/**
 * UTF-16 text that knows, for each of its units, which span of the original text it stands for.
 *
 * <p>The units in use are {@code chars[from .. to)}. Text that was never normalised has no alignment arrays: unit i is
 * the original unit i.
 */
final class AlignedText {
    final char[] chars;
    final int from;
    final int to;
    private final int[] starts;
    private final int[] ends;

    private AlignedText(char[] chars, int from, int to, int[] starts, int[] ends) {
        this.chars = chars;
        this.from = from;
        this.to = to;
        this.starts = starts;
        this.ends = ends;
    }

    /** The original text. */
    static AlignedText of(String text) {
        char[] chars = text.toCharArray();
        return new AlignedText(chars, 0, chars.length, null, null);
    }

    /** The part {@code chars[from .. to)}; nothing is copied. */
    AlignedText part(int partFrom, int partTo) {
        return partFrom == from && partTo == to ? this : new AlignedText(chars, partFrom, partTo, starts, ends);
    }

    boolean isEmpty() {
        return from == to;
    }

    /** Where the original of unit {@code i} starts. */
    int start(int i) {
        return starts == null ? i : starts[i];
    }

    /** Where the original of unit {@code i} ends (exclusive). */
    int end(int i) {
        return ends == null ? i + 1 : ends[i];
    }

    /** True if unit i of {@code chars} is unit i of the original. */
    boolean isOriginal() {
        return starts == null;
    }

    int codePointAt(int i) {
        return Character.codePointAt(chars, i, to);
    }

    @Override
    public String toString() {
        return new String(chars, from, to - from);
    }

    /** Collects units with their spans. */
    static final class Builder {
        private char[] chars;
        private int[] starts;
        private int[] ends;
        private int size;

        Builder(int capacity) {
            int n = Math.max(capacity, 16);
            chars = new char[n];
            starts = new int[n];
            ends = new int[n];
        }

        int size() {
            return size;
        }

        char last() {
            return chars[size - 1];
        }

        void dropLast() {
            size--;
        }

        void add(char unit, int start, int end) {
            if (size == chars.length) {
                int n = Math.multiplyExact(size, 2);
                chars = Arrays.copyOf(chars, n);
                starts = Arrays.copyOf(starts, n);
                ends = Arrays.copyOf(ends, n);
            }
            chars[size] = unit;
            starts[size] = start;
            ends[size++] = end;
        }

        void addCodePoint(int codePoint, int start, int end) {
            if (Character.isBmpCodePoint(codePoint)) {
                add((char) codePoint, start, end);
            } else {
                add(Character.highSurrogate(codePoint), start, end);
                add(Character.lowSurrogate(codePoint), start, end);
            }
        }

        void add(CharSequence units, int start, int end) {
            for (int i = 0; i < units.length(); i++) {
                add(units.charAt(i), start, end);
            }
        }

        /** Units {@code from .. to} of {@code text}, each with its own span. */
        void copy(AlignedText text, int from, int to) {
            for (int i = from; i < to; i++) {
                add(text.chars[i], text.start(i), text.end(i));
            }
        }

        AlignedText build() {
            return new AlignedText(chars, 0, size, starts, ends);
        }
    }
}
