package anneal.io;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import java.util.function.BiConsumer;

/** Damaged files: whatever is done to the bytes, a reader must succeed or say what is wrong, within seconds. */
final class Mutations {
    private static final long[] NASTY = {
        -1, Long.MIN_VALUE, Long.MAX_VALUE, 1L << 62, 1L << 40, 1L << 32, (1L << 31) - 1, 1L << 31, 0, 1
    };

    private Mutations() {}

    /** Tries {@code times} damaged copies and gives the number that were rejected. */
    static int tryAll(byte[] good, Random random, int times, Path file, BiConsumer<Path, Arena> read)
            throws IOException {
        int rejected = 0;
        for (int i = 0; i < times; i++) {
            byte[] bad = mutate(good, random);
            Files.write(file, bad);
            long before = System.nanoTime();
            try (Arena arena = Arena.ofConfined()) {
                read.accept(file, arena);
            } catch (IllegalArgumentException e) {
                rejected++;
                assertThat(e.getMessage())
                        .contains(file.getFileName().toString())
                        .doesNotContain("\n");
                assertThat(e.getMessage().length()).isLessThan(1_000);
            }
            assertThat(System.nanoTime() - before)
                    .as("nanoseconds for damaged copy " + i)
                    .isLessThan(10_000_000_000L);
        }
        return rejected;
    }

    private static byte[] mutate(byte[] good, Random random) {
        byte[] bad = good.clone();
        int at = random.nextInt(Math.min(bad.length, 1 + random.nextInt(bad.length)));
        switch (random.nextInt(5)) {
            case 0 -> bad[at] = (byte) random.nextInt();
            case 1 -> bad[at] ^= (byte) (1 << random.nextInt(8));
            case 2 -> bad = Arrays.copyOf(bad, at);
            case 3 -> {
                int size = Math.min(8, bad.length - at);
                byte[] nasty = ByteBuffer.allocate(8)
                        .order(ByteOrder.LITTLE_ENDIAN)
                        .putLong(NASTY[random.nextInt(NASTY.length)])
                        .array();
                System.arraycopy(nasty, 0, bad, at, size);
            }
            default -> {
                byte[] longer = new byte[bad.length + 1 + random.nextInt(16)];
                System.arraycopy(bad, 0, longer, 0, at);
                System.arraycopy(bad, at, longer, longer.length - bad.length + at, bad.length - at);
                bad = longer;
            }
        }
        return bad;
    }
}
