package anneal.io;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.ThreadLocalRandom;

/**
 * Writing a file so that its name always stands for a whole one: the bytes go to a sibling with another name, are
 * forced to the disk, and only then take the name. Whatever fails on the way leaves the old file as it was.
 */
public final class AtomicFile {
    /** What writes the bytes. */
    @FunctionalInterface
    public interface Content {
        /** Writes everything to a new, empty file. */
        void writeTo(FileChannel channel) throws IOException;
    }

    private AtomicFile() {}

    /** Replaces {@code file} (or makes it; its folder must exist) by what {@code content} writes. */
    public static void write(Path file, Content content) throws IOException {
        Path temp = sibling(file, "tmp");
        try {
            try (FileChannel channel = FileChannel.open(
                    temp, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE, StandardOpenOption.READ)) {
                content.writeTo(channel);
                channel.force(true);
            }
            Files.move(temp, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } catch (Throwable t) {
            deleteQuietly(temp, t);
            throw t;
        }
        forceFolder(folderOf(file));
    }

    /** Replaces {@code file} (or makes it; its folder must exist) by {@code bytes}. */
    public static void write(Path file, byte[] bytes) throws IOException {
        write(file, channel -> writeFully(channel, ByteBuffer.wrap(bytes)));
    }

    static void writeFully(FileChannel channel, ByteBuffer bytes) throws IOException {
        while (bytes.hasRemaining()) {
            channel.write(bytes);
        }
    }

    /** A hidden name beside {@code file} that no one else uses: the same folder, so that a rename is possible. */
    static Path sibling(Path file, String kind) {
        String unique = Long.toHexString(ThreadLocalRandom.current().nextLong()); // a file name only, never a result
        return folderOf(file).resolve("." + file.getFileName() + "." + unique + "." + kind);
    }

    static Path folderOf(Path file) {
        return file.toAbsolutePath().getParent();
    }

    /** Makes names in a folder durable; where folders cannot be opened (Windows) the file system does it by itself. */
    static void forceFolder(Path folder) throws IOException {
        if (folder.getFileSystem().supportedFileAttributeViews().contains("posix")) {
            try (FileChannel channel = FileChannel.open(folder, StandardOpenOption.READ)) {
                channel.force(true);
            }
        }
    }

    private static void deleteQuietly(Path file, Throwable cause) {
        try {
            Files.deleteIfExists(file);
        } catch (IOException e) {
            cause.addSuppressed(e);
        }
    }
}
