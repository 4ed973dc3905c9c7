package anneal.text;

/** Decodes ids one at a time: holds back bytes until they make whole characters. */
public interface StreamDecoder {
    /** The text that {@code id} completes, possibly empty. */
    String next(int id);

    /** What is still held back, with incomplete bytes replaced by U+FFFD. */
    String finish();
}
