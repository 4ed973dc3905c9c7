package anneal.data;

import anneal.text.Encoded;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * All encoded tokens of a dataset in a temporary file, mapped: four bytes a token, outside the heap, so a dataset may be
 * larger than memory and each epoch reads it in any order without encoding again.
 *
 * <p>A trained token stands as its id, another as the complement of its id, which is negative. The file lies in
 * {@code java.io.tmpdir} and has no name any more once it is mapped, where the system allows it.
 */
final class TokenStore {
    private final MemorySegment tokens;

    private TokenStore(MemorySegment tokens) {
        this.tokens = tokens;
    }

    int id(long at) {
        int token = tokens.get(ValueLayout.JAVA_INT, at * 4);
        return token < 0 ? ~token : token;
    }

    boolean trained(long at) {
        return tokens.get(ValueLayout.JAVA_INT, at * 4) >= 0;
    }

    /** Takes encoded samples one after the other. */
    static final class Writer implements AutoCloseable {
        private final Path file;
        private final FileChannel channel;
        private final ByteBuffer buffer = ByteBuffer.allocateDirect(1 << 18).order(ByteOrder.nativeOrder());
        private long written;

        Writer() {
            try {
                file = Files.createTempFile("anneal-tokens", ".bin");
                file.toFile().deleteOnExit();
                channel = FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE);
            } catch (IOException e) {
                throw new UncheckedIOException(
                        "cannot make a temporary file for tokens in " + System.getProperty("java.io.tmpdir"), e);
            }
        }

        /** Where the sample begins. */
        long add(Encoded sample) {
            long start = written;
            for (int i = 0; i < sample.length(); i++) {
                if (!buffer.hasRemaining()) {
                    flush();
                }
                int id = sample.ids()[i];
                buffer.putInt(sample.trained()[i] ? id : ~id);
            }
            written += sample.length();
            return start;
        }

        private void flush() {
            buffer.flip();
            try {
                while (buffer.hasRemaining()) {
                    channel.write(buffer);
                }
            } catch (IOException e) {
                throw new UncheckedIOException("cannot write " + file, e);
            }
            buffer.clear();
        }

        TokenStore finish() {
            flush();
            try {
                // Freed by the garbage collector with the last dataset that uses it.
                return new TokenStore(channel.map(MapMode.READ_ONLY, 0, written * 4, Arena.ofAuto()));
            } catch (IOException e) {
                throw new UncheckedIOException("cannot map " + file, e);
            }
        }

        @Override
        public void close() {
            try {
                channel.close();
            } catch (IOException e) {
                throw new UncheckedIOException("cannot close " + file, e);
            }
            // Fails on systems that keep mapped files; there it is deleted at exit.
            if (!file.toFile().delete()) {
                file.toFile().deleteOnExit();
            }
        }
    }
}
