package anneal.kernels.emit;

/** A vector register; its width is its type, so that an operand of another width does not compile. */
sealed interface Vec {
    /** Its number in an instruction: 0 to 15, with AVX-512 to 31. */
    int number();

    /** Bits it holds. */
    int bits();

    /** 128 bits. */
    record Xmm(int number) implements Vec {
        public Xmm {
            require(number);
        }

        @Override
        public int bits() {
            return 128;
        }
    }

    /** 256 bits. */
    record Ymm(int number) implements Vec {
        public Ymm {
            require(number);
        }

        @Override
        public int bits() {
            return 256;
        }
    }

    /** 512 bits. */
    record Zmm(int number) implements Vec {
        public Zmm {
            require(number);
        }

        @Override
        public int bits() {
            return 512;
        }
    }

    private static void require(int number) {
        if (number < 0 || number > 31) {
            throw new IllegalArgumentException("emit: there is no vector register " + number);
        }
    }
}
