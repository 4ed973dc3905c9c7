package anneal.kernels;

import anneal.kernels.emit.Level;
import org.junit.jupiter.api.Nested;

/** The contract at every level of the processor; levels that the machine does not have are skipped. */
class EmittedPrecisionTest {
    @Nested
    class Avx2 extends AtLevel {
        Avx2() {
            super(Level.AVX2);
        }
    }

    @Nested
    class Avx512 extends AtLevel {
        Avx512() {
            super(Level.AVX512);
        }
    }

    @Nested
    class Avx512Bf16 extends AtLevel {
        Avx512Bf16() {
            super(Level.AVX512_BF16);
        }
    }

    @Nested
    class Amx extends AtLevel {
        Amx() {
            super(Level.AMX);
        }
    }

    abstract static class AtLevel extends PrecisionContract {
        private final Kernels emitted;

        AtLevel(Level level) {
            emitted = Emitted.at(level);
        }

        @Override
        Kernels kernels() {
            return emitted;
        }
    }
}
