package anneal.data;

import java.nio.file.Path;

/** Where reading begins: {@code Jsonl.chats(path).encode(chat).pack(1024).batches(8).shuffled(42)}. */
public final class Jsonl {
    private Jsonl() {}

    /** Samples of any shape; see {@link Dataset} for the files and shapes that are read. */
    public static Dataset read(Path path) {
        return new Dataset(path, false);
    }

    /** The same where plain text is an error: every sample must have an answer. */
    public static Dataset chats(Path path) {
        return new Dataset(path, true);
    }
}
