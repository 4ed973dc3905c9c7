package anneal.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import anneal.kernels.Attention;
import anneal.kernels.Kernels;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;

/** The claim of the plot: memory that grows with T for the tiled kernel, and with its square for the plain one. */
class AttentionMemoryTest {
    @Test
    void tiledMemoryGrowsNoFasterThanTheLength() {
        AttentionMemory.Point shorter = AttentionMemory.measure(2, 512, 32),
                longer = AttentionMemory.measure(2, 2048, 32);
        assertThat(longer.tiledBytes()).isLessThan(5 * shorter.tiledBytes());
        assertThat(longer.plainBytes()).isGreaterThan(14 * shorter.plainBytes());
        assertThat(longer.tiledBytes()).isLessThan(longer.plainBytes() / 8);
    }

    @Test
    void bothWaysGiveTheSame() {
        Kernels kernels = Kernels.get();
        Attention s = Attention.causal(1, 70, 2, 2, 16);
        try (Arena arena = Arena.ofShared()) {
            int n = 70 * 2 * 16;
            MemorySegment[] x = new MemorySegment[5];
            for (int i = 0; i < 5; i++) {
                x[i] = arena.allocate(4L * n, 64);
                for (int j = 0; j < n; j++) {
                    x[i].setAtIndex(ValueLayout.JAVA_FLOAT, j, (float) Math.sin(j * (i + 1)));
                }
            }
            kernels.attention(x[0], arena.allocate(4L * 140, 64), x[2], x[3], x[4], s);
            AttentionMemory.plain(kernels, x[1], x[2], x[3], x[4], s);
            for (int j = 0; j < n; j++) {
                assertThat(x[1].getAtIndex(ValueLayout.JAVA_FLOAT, j))
                        .isCloseTo(x[0].getAtIndex(ValueLayout.JAVA_FLOAT, j), within(1e-5f));
            }
        }
    }
}
