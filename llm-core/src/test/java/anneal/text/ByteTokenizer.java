package anneal.text;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;

/** For tests: one token a byte, after it the special tokens given. */
public final class ByteTokenizer implements Tokenizer {
    private final List<String> special;
    private final String eos;

    /** The last special token is the end of sequence, if there is one. */
    public ByteTokenizer(String... special) {
        this.special = List.of(special);
        this.eos = special.length == 0 ? null : special[special.length - 1];
    }

    @Override
    public Encoding encode(String text, Options options) {
        int capacity = text.length() * 4;
        int[] ids = new int[capacity];
        int[] starts = new int[capacity];
        int[] ends = new int[capacity];
        int n = 0;
        for (int i = 0; i < text.length(); ) {
            int found = options.parseSpecial() ? specialAt(text, i) : -1;
            int end = found >= 0 ? i + special.get(found).length() : i + Character.charCount(text.codePointAt(i));
            byte[] bytes = text.substring(i, end).getBytes(StandardCharsets.UTF_8);
            for (int b = 0; b < (found >= 0 ? 1 : bytes.length); b++, n++) {
                ids[n] = found >= 0 ? 256 + found : bytes[b] & 0xff;
                starts[n] = i;
                ends[n] = end;
            }
            i = end;
        }
        return new Encoding(Arrays.copyOf(ids, n), Arrays.copyOf(starts, n), Arrays.copyOf(ends, n));
    }

    private int specialAt(String text, int at) {
        for (int s = 0; s < special.size(); s++) {
            if (text.startsWith(special.get(s), at)) {
                return s;
            }
        }
        return -1;
    }

    @Override
    public String decode(int[] ids, boolean skipSpecial) {
        StringBuilder out = new StringBuilder();
        byte[] bytes = new byte[ids.length];
        int n = 0;
        for (int id : ids) {
            if (id < 256) {
                bytes[n++] = (byte) id;
            } else {
                out.append(new String(bytes, 0, n, StandardCharsets.UTF_8));
                n = 0;
                out.append(skipSpecial ? "" : special.get(id - 256));
            }
        }
        return out.append(new String(bytes, 0, n, StandardCharsets.UTF_8)).toString();
    }

    @Override
    public StreamDecoder stream(boolean skipSpecial) {
        throw new UnsupportedOperationException("not needed by the tests that use this");
    }

    @Override
    public int vocabSize() {
        return 256 + special.size();
    }

    @Override
    public String token(int id) {
        return id < 256 ? String.valueOf((char) id) : special.get(id - 256);
    }

    @Override
    public OptionalInt id(String token) {
        int i = special.indexOf(token);
        return i >= 0
                ? OptionalInt.of(256 + i)
                : token.length() == 1 && token.charAt(0) < 256 ? OptionalInt.of(token.charAt(0)) : OptionalInt.empty();
    }

    @Override
    public boolean isSpecial(int id) {
        return id >= 256;
    }

    @Override
    public OptionalInt bos() {
        return OptionalInt.empty();
    }

    @Override
    public OptionalInt eos() {
        return eos == null ? OptionalInt.empty() : id(eos);
    }

    @Override
    public OptionalInt pad() {
        return OptionalInt.empty();
    }
}
