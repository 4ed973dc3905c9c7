package anneal.io;

import java.nio.file.Path;

/** A checkpoint that could not be saved or is not whole; the message begins with its path. */
public final class CheckpointException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private final transient Path path;

    /** The path is put in front of {@code message}. */
    public CheckpointException(Path path, String message, Throwable cause) {
        super(path + ": " + message, cause);
        this.path = path;
    }

    /** The checkpoint's folder; null after deserialisation. */
    public Path path() {
        return path;
    }
}
