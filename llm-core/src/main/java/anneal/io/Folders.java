package anneal.io;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Map;
import java.util.TreeMap;

/** Whole folders: forcing them to the disk, measuring and deleting them. */
public final class Folders {
    private Folders() {}

    /** Forces all files and names under {@code folder} to the disk and gives the size of each file by relative path. */
    static Map<String, Long> forceAndMeasure(Path folder) throws IOException {
        Map<String, Long> sizes = new TreeMap<>();
        Files.walkFileTree(folder, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
                try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
                    channel.force(true);
                    sizes.put(folder.relativize(file).toString().replace('\\', '/'), channel.size());
                }
                return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult postVisitDirectory(Path inner, IOException failed) throws IOException {
                AtomicFile.forceFolder(inner);
                return super.postVisitDirectory(inner, failed);
            }
        });
        return sizes;
    }

    /** Deletes a folder with all that is in it; links are deleted, not followed. */
    public static void delete(Path folder) throws IOException {
        if (!Files.exists(folder)) {
            return;
        }
        Files.walkFileTree(folder, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
                Files.delete(file);
                return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult postVisitDirectory(Path inner, IOException failed) throws IOException {
                super.postVisitDirectory(inner, failed);
                Files.delete(inner);
                return FileVisitResult.CONTINUE;
            }
        });
    }
}
