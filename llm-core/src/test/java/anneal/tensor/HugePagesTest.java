package anneal.tensor;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class HugePagesTest {
    @ParameterizedTest
    @ValueSource(longs = {4, 1 << 20, 2 << 20, (5 << 20) + 12})
    void memoryIsZeroAndAlignedAndWritableToItsEnd(long size) {
        try (Arena arena = Arena.ofShared()) {
            MemorySegment memory = HugePages.allocate(arena, size, 64);
            assertThat(memory.byteSize()).isEqualTo(size);
            assertThat(memory.address() % 64).isZero();
            assertThat(memory.mismatch(MemorySegment.ofArray(new byte[(int) size])))
                    .isEqualTo(-1);
            memory.fill((byte) 7);
            assertThat(memory.get(JAVA_BYTE, size - 1)).isEqualTo((byte) 7);
        }
    }

    @Test
    void memoryDiesWithItsArena() {
        Arena arena = Arena.ofShared();
        MemorySegment memory = HugePages.allocate(arena, 4 << 20, 64);
        arena.close();
        assertThatThrownBy(() -> memory.get(JAVA_BYTE, 0))
                .isInstanceOf(IllegalStateException.class)
                .hasMessageContaining("closed");
    }
}
