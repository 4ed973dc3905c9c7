package anneal.kernels.emit;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class BytePackingTest {
    @ParameterizedTest
    @EnumSource(BytePacking.Form.class)
    void everyLengthBetweenForbiddenPages(BytePacking.Form form) {
        assumeTrue(CpuFeatures.obstacle() == null, "no emitted code here");
        try (Arena arena = Arena.ofShared()) {
            BytePacking packing = new BytePacking(form, arena);
            Random random = new Random(2);
            for (int count = 0; count < 70; count++) {
                int padded = count + count % 3;
                MemorySegment from = GuardedMemory.allocate(arena, count, count % 2 == 0);
                MemorySegment to = GuardedMemory.allocate(arena, (long) padded * form.bytes(), count % 2 == 0);
                for (int i = 0; i < count; i++) {
                    from.set(JAVA_BYTE, i, (byte) random.nextInt());
                }
                packing.row(to, from, count, padded);
                for (int i = 0; i < padded; i++) {
                    int value = i < count ? from.get(JAVA_BYTE, i) : 0;
                    int got = form == BytePacking.Form.SHORTS
                            ? to.get(JAVA_SHORT_UNALIGNED, 2L * i)
                            : (to.get(JAVA_BYTE, i) & 255) - 128;
                    assertThat(got).as("%d of %d", i, count).isEqualTo(value);
                }
            }
            MemorySegment little = arena.allocate(31);
            assertThatThrownBy(() -> packing.row(little, arena.allocate(64), 32, 0))
                    .hasMessage("emit: 32 bytes do not become 0 numbers");
            assertThatThrownBy(() -> packing.row(little, arena.allocate(64), 32, 32))
                    .isInstanceOf(IndexOutOfBoundsException.class);
            assertThatThrownBy(() -> packing.row(arena.allocate(64), little, 32, 32))
                    .isInstanceOf(IndexOutOfBoundsException.class);
        }
    }
}
