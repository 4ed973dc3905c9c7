package anneal.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.tensor.DType;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.Consumer;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;

/** Whatever is written is read back: any types, shapes, names and bytes; and the small conversions, bit by bit. */
class RoundTripTest {
    record Made(String name, DType dtype, List<Integer> sizes, long seed) {
        StoredTensor tensor() {
            long[] shape = sizes.stream().mapToLong(Integer::longValue).toArray();
            if (dtype.blockSize() > 1) {
                shape[shape.length - 1] *= dtype.blockSize();
            }
            byte[] bytes = new byte[(int) Shapes.bytes(name, dtype, shape)];
            new Random(seed).nextBytes(bytes);
            return new StoredTensor(name, dtype, shape, MemorySegment.ofArray(bytes));
        }
    }

    @Property(tries = 60, seed = "11")
    void safetensorsComeBack(@ForAll("tensors") List<Made> made, @ForAll boolean givenOrder) {
        List<StoredTensor> tensors = made.stream()
                .map(Made::tensor)
                .filter(t -> Safetensors.TYPES.contains(t.dtype()))
                .toList();
        SafetensorsWriter writer = new SafetensorsWriter().metadata("k", "v");
        inTempFolder(dir -> {
            (givenOrder ? writer.inGivenOrder() : writer).write(dir.resolve("x.safetensors"), tensors);
            try (Arena arena = Arena.ofConfined()) {
                Safetensors back = Safetensors.open(dir.resolve("x.safetensors"), arena);
                assertSame(back.tensors(), tensors);
                assertThat(back.metadata()).containsOnly(Map.entry("format", "pt"), Map.entry("k", "v"));
                for (StoredTensor tensor : back.tensors().values()) {
                    assertThat(tensor.data().address() % tensor.dtype().blockBytes())
                            .isZero();
                }
            }
        });
    }

    @Property(tries = 40, seed = "12")
    void shardsComeBack(@ForAll("tensors") List<Made> made) {
        List<StoredTensor> tensors = made.stream()
                .map(Made::tensor)
                .filter(t -> Safetensors.TYPES.contains(t.dtype()))
                .toList();
        inTempFolder(dir -> {
            new SafetensorsWriter().write(dir, "model", tensors, 64);
            try (Arena arena = Arena.ofConfined()) {
                assertSame(Safetensors.open(dir, arena).tensors(), tensors);
            }
        });
    }

    @Property(tries = 60, seed = "13")
    void ggufComesBack(@ForAll("tensors") List<Made> made, @ForAll boolean wide) {
        List<StoredTensor> tensors = made.stream()
                .map(Made::tensor)
                .filter(t -> Gguf.ggmlNumber(t.dtype()) >= 0)
                .toList();
        GgufWriter writer = new GgufWriter().put("general.alignment", wide ? 128 : 8);
        inTempFolder(dir -> {
            writer.write(dir.resolve("x.gguf"), tensors);
            try (Arena arena = Arena.ofConfined()) {
                Map<String, StoredTensor> back =
                        Gguf.open(dir.resolve("x.gguf"), arena).tensors();
                assertSame(back, tensors);
                assertThat(List.copyOf(back.keySet()))
                        .isEqualTo(tensors.stream().map(StoredTensor::name).toList());
            }
        });
    }

    @Provide
    Arbitrary<List<Made>> tensors() {
        Arbitrary<String> names = Arbitraries.strings()
                .withChars("abcxyz._0123\"\\/\u00e9\u4e2d ")
                .ofMinLength(1)
                .ofMaxLength(12);
        Arbitrary<List<Integer>> sizes =
                Arbitraries.integers().between(0, 5).list().ofMinSize(1).ofMaxSize(4);
        return Combinators.combine(names, Arbitraries.of(DType.class), sizes, Arbitraries.longs())
                .as(Made::new)
                .list()
                .ofMaxSize(8)
                .uniqueElements(Made::name);
    }

    @Property(tries = 200, seed = "1")
    void jsonComesBack(@ForAll("values") Object value) {
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("value", value);
        assertThat(Json.parse(Json.text(object), "text").map()).isEqualTo(object);
        assertThat(Json.parse(Json.line(object), "line").map()).isEqualTo(object);
        assertThat(Json.line(object)).doesNotContain("\n");
    }

    @Provide
    Arbitrary<Object> values() {
        Arbitrary<Object> leaves = Arbitraries.oneOf(
                Arbitraries.strings()
                        .ofMaxLength(20)
                        .filter(RoundTripTest::isUnicode)
                        .asGeneric(),
                Arbitraries.integers().asGeneric(),
                Arbitraries.longs().filter(n -> n != n.intValue()).asGeneric(),
                Arbitraries.doubles().asGeneric(),
                Arbitraries.of(true, false).asGeneric());
        Arbitrary<Object> lists = leaves.list().ofMaxSize(4).asGeneric();
        Arbitrary<Object> maps = Arbitraries.maps(
                        Arbitraries.strings().alpha().ofMaxLength(5), Arbitraries.oneOf(leaves, lists))
                .ofMaxSize(4)
                .asGeneric();
        return Arbitraries.oneOf(leaves, lists, maps, maps.list().ofMaxSize(3).asGeneric());
    }

    private static boolean isUnicode(String text) {
        return StandardCharsets.UTF_8.newEncoder().canEncode(text);
    }

    /** All 65,536 values: f16 and bf16 widen exactly and come back as they were; NaN stays NaN. */
    @Example
    void everyHalfIsItsOwnRounding() {
        for (int bits = 0; bits < 1 << 16; bits++) {
            float value = Bfloat16.toFloat((short) bits);
            short back = Bfloat16.fromFloat(value);
            if (Float.isNaN(value)) {
                assertThat(Bfloat16.toFloat(back)).isNaN();
            } else {
                assertThat(back).isEqualTo((short) bits);
            }
        }
    }

    /** The nearest bfloat16 is one of the two neighbours, and the nearer one; at equal distance the even one. */
    @Property(tries = 1_000, seed = "14")
    void bfloat16IsTheNearest(@ForAll int bits) {
        float value = Float.intBitsToFloat(bits);
        if (!Float.isFinite(value)) {
            return;
        }
        double below = Bfloat16.toFloat((short) (bits >>> 16)); // towards zero
        int nextBits = ((bits >>> 16) & 0x7fff) + 1;
        double above = nextBits == 0x7f80 ? 0x1p128 : Bfloat16.toFloat((short) nextBits);
        above = Math.copySign(above, value);
        double down = Math.abs(value - below);
        double up = Math.abs(above - value);
        boolean even = ((bits >>> 16) & 1) == 0;
        double expected = down < up || (down == up && even) ? below : above;
        double actual = Bfloat16.toFloat(Bfloat16.fromFloat(value));
        assertThat(Double.isInfinite(actual) ? Math.copySign(0x1p128, actual) : actual)
                .isEqualTo(expected);
    }

    @Example
    void aNaNWhosePayloadIsLowIsNoInfinity() {
        assertThat(Bfloat16.toFloat(Bfloat16.fromFloat(Float.intBitsToFloat(0x7f800001))))
                .isNaN();
        assertThat(Bfloat16.toFloat(Bfloat16.fromFloat(Float.intBitsToFloat(0xff800001))))
                .isNaN();
    }

    @Example
    void whatATensorCannotBe() {
        MemorySegment eight = MemorySegment.ofArray(new byte[8]);
        assertThatThrownBy(() -> new StoredTensor("t", DType.F32, new long[] {3}, eight))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("tensor \"t\": F32 [3] takes 12 bytes, but has 8");
        assertThatThrownBy(() -> new StoredTensor("t", DType.Q8_0, new long[] {}, eight))
                .hasMessage("tensor \"t\": last dim of [] is no multiple of 32, the block of Q8_0");
        StoredTensor t = new StoredTensor("t", DType.F32, new long[] {2}, eight);
        assertThatThrownBy(t::ints).hasMessage("tensor \"t\" F32 [2] does not hold integers");
        assertThatThrownBy(() -> t.permuteRows(new int[] {0}, Arena.global()))
                .hasMessage("permuteRows: tensor \"t\" F32 [2] has no rows; at least 2 dims are needed");
        StoredTensor l = new StoredTensor(
                "l", DType.I64, new long[] {1}, MemorySegment.ofArray(new byte[] {0, 0, 0, 0, 1, 0, 0, 0}));
        assertThatThrownBy(l::ints).hasMessage("tensor \"l\" I64 [1]: 4294967296 at index 0 does not fit 32 bits");
        assertThatThrownBy(() -> new SafetensorsWriter()
                        .as(DType.F32)
                        .write(
                                Path.of("never"),
                                List.of(new StoredTensor(
                                        "q", DType.Q4_0, new long[] {32}, MemorySegment.ofArray(new byte[18])))))
                .hasMessage("tensor \"q\" is stored as Q4_0, which safetensors does not have");
    }

    /** More numbers than one buffer holds, of a size that is no multiple of it: copied and converted in pieces. */
    @Example
    void largeTensorsGoInPieces() {
        int n = (1 << 18) * 2 + 32 * 5;
        float[] values = new float[n];
        Random random = new Random(4);
        for (int i = 0; i < n; i++) {
            values[i] = (float) random.nextGaussian();
        }
        StoredTensor x = StoredTensor.of("x", values, n / 32, 32);
        inTempFolder(dir -> {
            try (Arena arena = Arena.ofConfined()) {
                new SafetensorsWriter().write(dir.resolve("f32"), List.of(x));
                assertThat(Safetensors.open(dir.resolve("f32"), arena).get("x").floats())
                        .isEqualTo(values);
                new GgufWriter().as(DType.BF16).write(dir.resolve("bf16"), List.of(x));
                float[] back = Gguf.open(dir.resolve("bf16"), arena).get("x").floats();
                new GgufWriter().as(DType.Q8_0).write(dir.resolve("q8"), List.of(x));
                MemorySegment q8 = Gguf.open(dir.resolve("q8"), arena).get("x").data();
                for (int i = 0; i < n; i++) {
                    assertThat(back[i]).isEqualTo(Bfloat16.toFloat(Bfloat16.fromFloat(values[i])));
                    long block = i / 32 * 34L;
                    float scale = Float.float16ToFloat(q8.get(LittleEndian.SHORT, block));
                    float q = scale * q8.get(LittleEndian.BYTE, block + 2 + i % 32);
                    // half a step, and what rounding the scale to f16 does to 127 steps
                    assertThat(Math.abs(q - values[i])).isLessThan(scale * (0.5f + 127 * 0x1p-11f + 1e-3f));
                }
            }
        });
    }

    private static void assertSame(Map<String, StoredTensor> back, List<StoredTensor> tensors) {
        assertThat(back).hasSize(tensors.size());
        for (StoredTensor expected : tensors) {
            StoredTensor actual = back.get(expected.name());
            assertThat(actual.dtype()).isEqualTo(expected.dtype());
            assertThat(actual.shape()).isEqualTo(expected.shape());
            assertThat(actual.data().mismatch(expected.data())).isEqualTo(-1);
        }
    }

    private static void inTempFolder(Consumer<Path> body) {
        try {
            Path dir = Files.createTempDirectory("round-trip");
            try {
                body.accept(dir);
            } finally {
                Folders.delete(dir);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
