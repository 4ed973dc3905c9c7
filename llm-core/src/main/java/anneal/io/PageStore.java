package anneal.io;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.UUID;

/**
 * Memory that lies in a file: the system keeps in RAM what is used and writes the rest out, so that more can be had than there is RAM.
 *
 * <p>The file is as large as was asked for before the first byte is used, since a disk that is full later would end the process. It is
 * scratch: it goes when the store is closed, and at once where the system allows that, so a process that is killed leaves nothing.
 */
public final class PageStore implements AutoCloseable {
    private static final int ALIGN = 64;
    private static final int ZEROS = 1 << 20;

    private final Arena arena = Arena.ofShared();
    private final FileChannel channel;
    private final MemorySegment pages;
    private long used;

    private PageStore(FileChannel channel, long bytes) throws IOException {
        this.channel = channel;
        ByteBuffer zeros = ByteBuffer.allocateDirect(ZEROS);
        for (long left = bytes; left > 0; left -= zeros.limit()) {
            zeros.clear().limit((int) Math.min(ZEROS, left));
            AtomicFile.writeFully(channel, zeros);
        }
        pages = channel.map(FileChannel.MapMode.READ_WRITE, 0, bytes, arena);
    }

    /** Bytes that {@link #take} uses up for so many. */
    public static long rounded(long bytes) {
        return Math.ceilDiv(bytes, ALIGN) * ALIGN;
    }

    /**
     * A store of so many bytes, all zero.
     *
     * @param folder where the file lies; made if it is not there
     * @throws UncheckedIOException if the folder cannot be written or has too little room; names both numbers
     */
    public static PageStore create(Path folder, long bytes) {
        FileChannel channel = null;
        try {
            Files.createDirectories(folder);
            long free = Files.getFileStore(folder).getUsableSpace();
            if (free < bytes) {
                throw new IOException("it has room for " + megabytes(free) + ", not for " + megabytes(bytes));
            }
            channel = FileChannel.open(
                    folder.resolve("pages-" + UUID.randomUUID() + ".tmp"),
                    StandardOpenOption.CREATE_NEW,
                    StandardOpenOption.READ,
                    StandardOpenOption.WRITE,
                    StandardOpenOption.DELETE_ON_CLOSE);
            return new PageStore(channel, bytes);
        } catch (IOException e) {
            closeQuietly(channel, e);
            throw new UncheckedIOException(folder + " cannot hold pages of memory: " + reason(e), e);
        }
    }

    private static String reason(IOException e) {
        return e.getMessage() == null || e instanceof java.nio.file.FileSystemException
                ? e.getClass()
                                .getSimpleName()
                                .replaceAll("(?<=[a-z])(?=[A-Z])", " ")
                                .replace(" Exception", "")
                                .toLowerCase()
                        + (e.getMessage() == null ? "" : " " + e.getMessage())
                : e.getMessage();
    }

    private static String megabytes(long bytes) {
        return Math.ceilDiv(bytes, 1 << 20) + " MB";
    }

    private static void closeQuietly(FileChannel channel, Throwable cause) {
        try {
            if (channel != null) {
                channel.close();
            }
        } catch (IOException e) {
            cause.addSuppressed(e);
        }
    }

    /** The next bytes, zero and aligned for floats and vectors. */
    public MemorySegment take(long bytes) {
        MemorySegment part = pages.asSlice(used, bytes);
        used += rounded(bytes);
        return part;
    }

    /** Gives the memory and the file back; whatever reads it afterwards fails. */
    @Override
    public void close() {
        arena.close();
        try {
            channel.close();
        } catch (IOException e) {
            throw new UncheckedIOException("the pages' file cannot be closed: " + e.getMessage(), e);
        }
    }
}
