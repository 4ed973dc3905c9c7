package anneal.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.Golden;
import anneal.tensor.DType;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class GgufTest {
    @TempDir
    Path dir;

    @Test
    void everyValueTypeThatPythonWrites() {
        try (Arena arena = Arena.ofConfined()) {
            Gguf file = Gguf.open(IoResources.path("types.gguf"), arena);
            assertThat(file.string("general.architecture")).isEqualTo("llama");
            assertThat(file.metadata())
                    .containsEntry("t.uint8", 255L)
                    .containsEntry("t.int8", -128L)
                    .containsEntry("t.uint16", 65535L)
                    .containsEntry("t.int16", -32768L)
                    .containsEntry("t.uint32", (1L << 32) - 1)
                    .containsEntry("t.int32", -(1L << 31))
                    .containsEntry("t.float32", 1e-5f)
                    .containsEntry("t.uint64", BigInteger.TWO.pow(64).subtract(BigInteger.ONE))
                    .containsEntry("t.int64", Long.MIN_VALUE)
                    .containsEntry("t.float64", 1 / 3.0)
                    .containsEntry("t.bool", true)
                    .containsEntry("t.string", "gr\u00fc\u00df \u4e16\u754c \ud83d\ude00");
            assertThat(file.types())
                    .containsEntry("t.uint64", GgufType.UINT64)
                    .containsEntry("t.strings", GgufType.ARRAY);
            assertThat(file.strings("t.strings")).containsExactly("a", "", "\u0120the", "<0xE4>");
            assertThat(file.array("t.strings").bytes(2)).isEqualTo("\u0120the".getBytes(StandardCharsets.UTF_8));
            assertThat(file.array("t.int32s").ints()).containsExactly(1, -2, 3);
            assertThat(file.array("t.int32s").longs()).containsExactly(1, -2, 3);
            assertThat(file.array("t.float32s").floats()).containsExactly(0.5f, -1.25f);
            assertThat(file.array("t.bools")).containsExactly(true, false);
            assertThat(file.array("t.nested").elementType()).isEqualTo(GgufType.ARRAY);
            assertThat(((GgufArray) file.array("t.nested").get(1)).ints()).containsExactly(3, 4, 5);
            assertThat(file.integer("t.uint8")).isEqualTo(255);
            assertThat(file.integer("absent", 9)).isEqualTo(9);
            assertThat(file.number("t.float32")).isEqualTo(1e-5f);
            assertThat(file.flag("t.bool")).isTrue();
        }
    }

    @Test
    void everyTensorTypeThatPythonWrites() {
        Path path = IoResources.path("types.gguf");
        JsonObject expected = Json.read(path.resolveSibling("types.gguf.json"));
        try (Arena arena = Arena.ofConfined()) {
            Gguf file = Gguf.open(path, arena);
            assertThat(file.tensors().keySet()).containsExactlyElementsOf(expected.keys());
            for (StoredTensor tensor : file.tensors().values()) {
                JsonObject facts = expected.object(tensor.name());
                assertThat(tensor.dtype()).hasToString(facts.string("dtype"));
                assertThat(Arrays.stream(tensor.shape()).mapToInt(Math::toIntExact))
                        .containsExactly(
                                Arrays.stream(facts.integers("shape")).boxed().toArray(Integer[]::new));
                assertThat(sha256(tensor.data())).as(tensor.name()).isEqualTo(facts.string("sha256"));
            }
            assertThat(file.get("x.i64").longs()).containsExactly(Long.MIN_VALUE, Long.MAX_VALUE);
            assertThat(file.get("x.i8").ints()).containsExactly(-128, 127, 5);
            assertThat(file.get("cube").floats()[23]).isEqualTo(23);
            assertThatThrownBy(() -> file.get("x.Q4_K").floats())
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage(
                            "tensor \"x.Q4_K\" Q4_K [3, 256] is stored in blocks: it cannot be read as an array of floats");
        }
    }

    /** Rounding to bf16 and blocks of Q8_0 gives, from the same floats, the very bytes of the gguf package. */
    @Test
    void weConvertAsPythonDoes() {
        try (Arena arena = Arena.ofConfined()) {
            Gguf theirs = Gguf.open(IoResources.path("types.gguf"), arena);
            StoredTensor x = theirs.get("x.weight");
            for (DType type : List.of(DType.F16, DType.BF16, DType.Q8_0)) {
                Path path = dir.resolve(type + ".gguf");
                new GgufWriter().as(type).write(path, List.of(x, theirs.get("norm.weight")));
                Gguf ours = Gguf.open(path, arena);
                StoredTensor expected = theirs.get(type == DType.F16 ? "x.f16" : "x." + type);
                assertThat(ours.get("x.weight").dtype()).isEqualTo(type);
                assertThat(ours.get("x.weight").data().mismatch(expected.data()))
                        .as(type.toString())
                        .isEqualTo(-1);
                assertThat(ours.get("norm.weight").dtype()).isEqualTo(DType.F32);
            }
        }
    }

    @Test
    void aCopyIsTheSameFile() {
        Path theirs = IoResources.path("types.gguf");
        Path ours = dir.resolve("copy.gguf");
        try (Arena arena = Arena.ofConfined()) {
            Gguf file = Gguf.open(theirs, arena);
            new GgufWriter().putAll(file).write(ours, List.copyOf(file.tensors().values()));
        }
        assertThat(ours).hasSameBinaryContentAs(theirs);
        assertThat(dir.toFile().list()).containsExactly("copy.gguf");
    }

    @Test
    void writtenMetadataComesBack() {
        Path path = dir.resolve("m.gguf");
        new GgufWriter()
                .put("general.architecture", "llama")
                .put("n", 7)
                .put("f", 0.25f)
                .put("b", false)
                .put("tokens", List.of("x", "\u4e2d"))
                .put("types", new int[] {1, -1})
                .put("scores", new float[] {-1.5f})
                .put("u64", GgufType.UINT64, BigInteger.TWO.pow(63))
                .put("general.alignment", 64)
                .write(
                        path,
                        List.of(StoredTensor.of("a", new float[] {1}, 1), StoredTensor.of("b", new float[] {2}, 1)));
        try (Arena arena = Arena.ofConfined()) {
            Gguf file = Gguf.open(path, arena);
            assertThat(file.types())
                    .containsEntry("n", GgufType.UINT32)
                    .containsEntry("f", GgufType.FLOAT32)
                    .containsEntry("b", GgufType.BOOL);
            assertThat(file.integer("n")).isEqualTo(7);
            assertThat(file.strings("tokens")).containsExactly("x", "\u4e2d");
            assertThat(file.array("types").ints()).containsExactly(1, -1);
            assertThat(file.array("scores").floats()).containsExactly(-1.5f);
            assertThat(file.metadata()).containsEntry("u64", BigInteger.TWO.pow(63));
            assertThat(file.get("b").floats()).containsExactly(2);
            assertThat(file.get("b").data().address() - file.get("a").data().address())
                    .isEqualTo(64);
        }
    }

    @Test
    void whatGgufCannotHold() {
        StoredTensor a = StoredTensor.of("a", new float[] {1}, 1);
        assertWriteFails("tensor \"a\" is to be written twice", new GgufWriter(), a, a);
        assertWriteFails(
                "GGUF: tensor \"a\" is stored as BOOL, which GGUF does not have",
                new GgufWriter(),
                new StoredTensor("a", DType.BOOL, new long[] {1}, MemorySegment.ofArray(new byte[1])));
        assertWriteFails(
                "GGUF: tensor \"a\" has 5 dims; at most 4 are allowed", new GgufWriter(), a.reshaped(1, 1, 1, 1, 1));
        assertWriteFails(
                "GGUF: tensor \"" + "n".repeat(64) + "\" has a name of 64 bytes; readers allow 63",
                new GgufWriter(),
                a.renamed("n".repeat(64)));
        assertWriteFails(
                "tensor \"a\": NaN at index 33 cannot be stored as Q8_0",
                new GgufWriter().as(DType.Q8_0),
                StoredTensor.of("a", withNaN(64, 33), 2, 32));
        assertThatThrownBy(() -> new GgufWriter().put("n", -1)).hasMessage("GGUF: key \"n\": -1 is no UINT32");
        assertThatThrownBy(() -> new GgufWriter().put("n", GgufType.INT8, 128))
                .hasMessage("GGUF: key \"n\": 128 is no INT8");
        assertThatThrownBy(() -> new GgufWriter().put("n", GgufType.BOOL, "x"))
                .hasMessage("GGUF: key \"n\": the string \"x\" is no BOOL");
        assertThatThrownBy(() -> new GgufWriter().put("general.alignment", 12))
                .hasMessage("GGUF: key \"general.alignment\" must be a power of two from 8 to 2^20 but is 12");
        assertThatThrownBy(() -> new GgufWriter().as(DType.Q4_0))
                .hasMessage("GGUF: numbers can be written as F32, F16, BF16 or Q8_0, not as Q4_0");
    }

    @Test
    void rowsThatAreNoWholeBlocksBecomeF16() {
        StoredTensor x = StoredTensor.of("x", new float[] {1, 2, 3, 4}, 2, 2);
        new GgufWriter().as(DType.Q8_0).write(dir.resolve("x.gguf"), List.of(x));
        try (Arena arena = Arena.ofConfined()) {
            StoredTensor back = Gguf.open(dir.resolve("x.gguf"), arena).get("x");
            assertThat(back.dtype()).isEqualTo(DType.F16);
            assertThat(back.floats()).containsExactly(1, 2, 3, 4);
        }
    }

    @Test
    void rowsOfBlocksMoveWithoutLoss() {
        try (Arena arena = Arena.ofConfined()) {
            StoredTensor q = Gguf.open(IoResources.path("types.gguf"), arena).get("x.Q4_K");
            StoredTensor moved = q.permuteRows(new int[] {2, 0, 1}, arena);
            assertThat(moved.shape()).containsExactly(3, 256);
            assertThat(moved.permuteRows(new int[] {1, 2, 0}, arena).data().mismatch(q.data()))
                    .isEqualTo(-1);
            assertThat(moved.data().asSlice(0, 144).mismatch(q.data().asSlice(288)))
                    .isEqualTo(-1);
            assertThatThrownBy(() -> q.permuteRows(new int[] {3}, arena))
                    .hasMessage("permuteRows: order[0] = 3 is no row of tensor \"x.Q4_K\" Q4_K [3, 256]");
        }
    }

    @Test
    void versionsAndByteOrders() throws IOException {
        assertFails(
                "no GGUF file: it does not begin with \"GGUF\"",
                b -> b.text("GGML").i32(3));
        assertFails("no GGUF file: it does not begin with \"GGUF\"", b -> b.text("GG"));
        assertFails("GGUF version 1; supported are 2 and 3", b -> b.text("GGUF").i32(1));
        assertFails("GGUF version 4; supported are 2 and 3", b -> b.text("GGUF").i32(4));
        assertFails(
                "a big-endian GGUF file; only little-endian ones are supported",
                b -> b.text("GGUF").i32(Integer.reverseBytes(3)));
        Path two = dir.resolve("two.gguf");
        Files.write(
                two,
                new Bytes()
                        .text("GGUF")
                        .i32(2)
                        .i64(0)
                        .i64(1)
                        .string("k")
                        .i32(GgufType.UINT8.ordinal())
                        .i8(5)
                        .array());
        try (Arena arena = Arena.ofConfined()) {
            assertThat(Gguf.open(two, arena).integer("k")).isEqualTo(5);
            assertThat(Gguf.open(two, arena).tensors()).isEmpty();
        }
    }

    @Test
    void countsAndLengthsThatLie() throws IOException {
        long huge = 1L << 60;
        assertFails("truncated: the number of tensors needs 8 bytes at byte 8, but only 0 follow", b -> b.head());
        assertFails(
                "truncated or wrong: it claims " + huge + " tensors, but only 8 bytes follow",
                b -> b.head().i64(huge).i64(0));
        assertFails(
                "truncated or wrong: it claims 18446744073709551615 keys, but only 0 bytes follow",
                b -> b.head().i64(0).i64(-1));
        assertFails(
                "truncated or wrong: the name of key 0 claims a string of " + huge
                        + " bytes; at most 65535 are allowed",
                b -> b.head().i64(0).i64(1).i64(huge).i64(0));
        assertFails(
                "truncated: the name of key 0 needs 100 bytes at byte 32, but only 8 follow",
                b -> b.head().i64(0).i64(1).i64(100).i64(0));
        assertFails(
                "key \"k\" has the unknown value type 13",
                b -> b.head().i64(0).i64(1).string("k").i32(13).i64(0));
        assertFails(
                "truncated or wrong: key \"k\" claims an array of " + huge + " STRING, but only 0 bytes follow",
                b -> b.head().i64(0).i64(1).string("k").i32(9).i32(8).i64(huge));
        assertFails(
                "truncated or wrong: key \"k\" claims an array of 5 INT32, but only 16 bytes follow",
                b -> b.head()
                        .i64(0)
                        .i64(1)
                        .string("k")
                        .i32(9)
                        .i32(5)
                        .i64(5)
                        .i64(0)
                        .i64(0));
        assertFails(
                "truncated: key \"k\" at index 0 needs 9 bytes at byte 57, but only 8 follow",
                b -> b.head()
                        .i64(0)
                        .i64(1)
                        .string("k")
                        .i32(9)
                        .i32(8)
                        .i64(1)
                        .i64(9)
                        .i64(0));
        assertFails("key \"k\": arrays are nested deeper than 8", b -> {
            b.head().i64(0).i64(1).string("k").i32(9);
            for (int i = 0; i < 50; i++) {
                b.i32(9).i64(1);
            }
        });
        assertFails(
                "key \"k\" stands there twice",
                b -> b.head()
                        .i64(0)
                        .i64(2)
                        .string("k")
                        .i32(7)
                        .i8(1)
                        .string("k")
                        .i32(7)
                        .i8(1));
        assertFails(
                "key \"general.alignment\" must be a power of two but is 3",
                b -> b.head().i64(0).i64(1).string("general.alignment").i32(4).i32(3));
    }

    @Test
    void tensorsThatLie() throws IOException {
        assertFails("tensor \"t\" has 5 dims; at most 4 are allowed", b -> b.tensor("t", 0, 0, 1, 1, 1, 1, 1));
        assertFails(
                "tensor \"t\" is stored as IQ2_XS (ggml type 17), which is not supported",
                b -> b.tensor("t", 17, 0, 256));
        assertFails(
                "tensor \"t\" is stored as an unknown type (ggml type 99), which is not supported",
                b -> b.tensor("t", 99, 0, 256));
        assertFails(
                "tensor \"t\": shape [4294967296, 4294967296] has more than 2^63 elements",
                b -> b.tensor("t", 0, 0, 1L << 32, 1L << 32));
        assertFails("tensor \"t\": shape [-1] has a negative size", b -> b.tensor("t", 0, 0, -1));
        assertFails(
                "tensor \"t\": last dim of [2, 33] is no multiple of 32, the block of Q8_0",
                b -> b.tensor("t", 8, 0, 33, 2));
        assertFails(
                "tensor \"t\" begins at byte 4 of the data, which is no multiple of the alignment 32",
                b -> b.tensor("t", 0, 4, 1).pad().i64(0));
        assertFails(
                "truncated or wrong: tensor \"t\" F32 [3] takes 12 bytes from byte 0 of the data, which has 8",
                b -> b.tensor("t", 0, 0, 3).pad().i64(0));
        assertFails(
                "truncated or wrong: tensor \"t\" F32 [1] takes 4 bytes from byte 18446744073709551584 of the data, "
                        + "which has 8",
                b -> b.tensor("t", 0, -32, 1).pad().i64(0));
        assertFails(
                "tensor \"u\" begins at byte 0 of the data, but tensor \"t\" ends at 4: they overlap",
                b -> b.head()
                        .i64(2)
                        .i64(0)
                        .info("t", 0, 0, 1)
                        .info("u", 0, 0, 1)
                        .pad()
                        .i64(0));
        assertFails(
                "tensor \"t\" stands there twice",
                b -> b.head()
                        .i64(2)
                        .i64(0)
                        .info("t", 0, 0, 1)
                        .info("t", 0, 32, 1)
                        .pad()
                        .i64(0)
                        .pad()
                        .i64(0));
    }

    @Test
    void wrongTypesAndNamesAreSaid() {
        Path path = IoResources.path("types.gguf");
        try (Arena arena = Arena.ofConfined()) {
            Gguf file = Gguf.open(path, arena);
            assertThatThrownBy(() -> file.get("x.wieght"))
                    .hasMessage(path + " has no tensor \"x.wieght\"; the nearest is \"x.weight\"");
            assertThatThrownBy(() -> file.string("t.strin"))
                    .hasMessage(path + " has no key \"t.strin\"; the nearest is \"t.string\"");
            assertThatThrownBy(() -> file.integer("t.uint64"))
                    .hasMessage(path + ": key \"t.uint64\" must be a 32-bit integer but is 18446744073709551615");
            assertThatThrownBy(() -> file.string("t.strings"))
                    .hasMessage(path + ": key \"t.strings\" must be a string but is an array of 4 STRING");
            assertThatThrownBy(() -> file.array("t.int32s").floats())
                    .hasMessage("GGUF key \"t.int32s\" must be an array of floats but is one of INT32");
        }
    }

    @Test
    void mutatedFilesEndInClearErrors() throws IOException {
        byte[] good = Files.readAllBytes(IoResources.path("types.gguf"));
        int rejected = Mutations.tryAll(good, new Random(5), 1_200, dir.resolve("m.gguf"), (file, arena) -> {
            Gguf opened = Gguf.open(file, arena);
            opened.metadata().values().forEach(Object::toString);
            for (StoredTensor tensor : opened.tensors().values()) {
                tensor.data().mismatch(tensor.data());
            }
        });
        assertThat(rejected).isGreaterThan(240);
    }

    @Test
    void aVocabularyOfAQuarterMillionIsReadInPlace() {
        List<String> tokens = new ArrayList<>();
        for (int i = 0; i < 250_000; i++) {
            tokens.add("token" + i);
        }
        Path path = dir.resolve("v.gguf");
        new GgufWriter().put("tokenizer.ggml.tokens", tokens).write(path, List.of());
        try (Arena arena = Arena.ofConfined()) {
            assertThat(Gguf.open(path, arena).strings("tokenizer.ggml.tokens")).isEqualTo(tokens);
        }
    }

    /** Every GGUF file among the reference numbers and the shared models: opens, and the vocabulary is whole. */
    @Test
    void realFilesOpen() throws IOException {
        List<Path> files = new ArrayList<>();
        if (Golden.shared().isPresent()) {
            try (Stream<Path> walk = Files.walk(Golden.shared().get())) {
                walk.filter(p -> p.toString().endsWith(".gguf")).sorted().forEach(files::add);
            }
        }
        Assumptions.assumeFalse(files.isEmpty(), "no real GGUF file was handed in");
        for (Path path : files) {
            try (Arena arena = Arena.ofConfined()) {
                Gguf file = Gguf.open(path, arena);
                String architecture = file.string("general.architecture");
                if (file.has("tokenizer.ggml.tokens")) {
                    List<String> tokens = file.strings("tokenizer.ggml.tokens");
                    assertThat(tokens).isNotEmpty().doesNotContainNull();
                    assertThat(file.array("tokenizer.ggml.token_type").ints()).hasSize(tokens.size());
                }
                if (!file.tensors().isEmpty()) { // there are files that hold a vocabulary only
                    assertModelIsWhole(file, architecture, Files.size(path));
                }
            }
        }
        Golden.report("io/gguf", files.size(), 0);
    }

    private static void assertModelIsWhole(Gguf file, String architecture, long size) {
        StoredTensor embedding = file.get("token_embd.weight");
        assertThat(embedding.shape())
                .containsExactly(
                        file.strings("tokenizer.ggml.tokens").size(), file.integer(architecture + ".embedding_length"));
        for (int i = 0; i < file.integer(architecture + ".block_count"); i++) {
            assertThat(file.tensors()).containsKey("blk." + i + ".attn_norm.weight");
        }
        long bytes = file.tensors().values().stream()
                .mapToLong(t -> t.data().byteSize())
                .sum();
        assertThat(bytes).isBetween(size / 2, size);
    }

    private static float[] withNaN(int size, int at) {
        float[] values = new float[size];
        values[at] = Float.NaN;
        return values;
    }

    private void assertFails(String message, Consumer<Bytes> content) throws IOException {
        Path file = dir.resolve("x.gguf");
        Bytes bytes = new Bytes();
        content.accept(bytes);
        Files.write(file, bytes.array());
        try (Arena arena = Arena.ofConfined()) {
            assertThatThrownBy(() -> Gguf.open(file, arena))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage(file + ": " + message);
        }
    }

    private void assertWriteFails(String message, GgufWriter writer, StoredTensor... tensors) {
        assertThatThrownBy(() -> writer.write(dir.resolve("w"), List.of(tensors)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage(message);
        assertThat(dir).isEmptyDirectory();
    }

    private static String sha256(MemorySegment data) {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            return HexFormat.of().formatHex(digest.digest(data.toArray(LittleEndian.BYTE)));
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError(e);
        }
    }

    /** A file by hand. */
    private static final class Bytes {
        private final ByteArrayOutputStream to = new ByteArrayOutputStream();

        byte[] array() {
            return to.toByteArray();
        }

        Bytes text(String ascii) {
            to.writeBytes(ascii.getBytes(StandardCharsets.US_ASCII));
            return this;
        }

        Bytes number(long value, int bytes) {
            to.write(
                    ByteBuffer.allocate(8)
                            .order(ByteOrder.LITTLE_ENDIAN)
                            .putLong(value)
                            .array(),
                    0,
                    bytes);
            return this;
        }

        Bytes i8(int value) {
            return number(value, 1);
        }

        Bytes i32(int value) {
            return number(value, 4);
        }

        Bytes i64(long value) {
            return number(value, 8);
        }

        Bytes string(String ascii) {
            return i64(ascii.length()).text(ascii);
        }

        Bytes head() {
            return text("GGUF").i32(3);
        }

        /** Sizes as in the file: contiguous dimension first. */
        Bytes info(String name, int type, long offset, long... sizes) {
            string(name).i32(sizes.length);
            for (long size : sizes) {
                i64(size);
            }
            return i32(type).i64(offset);
        }

        Bytes tensor(String name, int type, long offset, long... sizes) {
            return head().i64(1).i64(0).info(name, type, offset, sizes);
        }

        Bytes pad() {
            while (to.size() % 32 != 0) {
                i8(0);
            }
            return this;
        }
    }
}
