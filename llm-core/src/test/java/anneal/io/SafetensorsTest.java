package anneal.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.Golden;
import anneal.tensor.DType;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.assertj.core.api.Assertions;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

class SafetensorsTest {
    @TempDir
    Path dir;

    @Test
    void everyTypeThatPythonWrites() {
        try (Arena arena = Arena.ofConfined()) {
            Safetensors file = Safetensors.open(IoResources.path("types.safetensors"), arena);
            float[] exact = {0f, -0f, 1f, 1.5f, -65504f, 6.1e-5f, 1e-7f, 3.1415927f, Float.POSITIVE_INFINITY};
            assertThat(file.get("f32").floats()).isEqualTo(exact);
            assertThat(file.get("f64").floats()).isEqualTo(exact);
            float[] half = new float[exact.length];
            float[] brain = new float[exact.length];
            for (int i = 0; i < exact.length; i++) {
                half[i] = Float.float16ToFloat(Float.floatToFloat16(exact[i]));
                brain[i] = Bfloat16.toFloat(Bfloat16.fromFloat(exact[i]));
            }
            assertThat(file.get("f16").floats()).isEqualTo(half);
            assertThat(file.get("bf16").floats()).isEqualTo(brain);
            assertThat(file.get("i64").longs()).containsExactly(-(1L << 62), 1L << 31, 7);
            assertThat(file.get("i64").shape()).containsExactly(3, 1);
            assertThat(file.get("i32").ints()).containsExactly(Integer.MIN_VALUE, 0, Integer.MAX_VALUE);
            assertThat(file.get("i16").ints()).containsExactly(-32768, 32767, 5);
            assertThat(file.get("i8").ints()).containsExactly(-128, 127, -1);
            assertThat(file.get("i8").floats()).containsExactly(-128, 127, -1);
            assertThat(file.get("u8").ints()).containsExactly(0, 128, 255);
            assertThat(file.get("bool").ints()).containsExactly(1, 0, 1, 1, 0);
            assertThat(file.get("empty").shape()).containsExactly(0, 4);
            assertThat(file.get("empty").floats()).isEmpty();
            assertThat(file.get("scalar").shape()).isEmpty();
            assertThat(file.get("scalar").floats()).containsExactly(2.5f);
            assertThat(file.get("name \"with\" \u00e9\u4e2d/odd.letters").floats())
                    .containsExactly(1, 1, 1, 1);
            assertThat(file.tensors()).hasSize(13);
            assertThat(file.metadata()).containsExactly(Map.entry("format", "pt"));
        }
    }

    @Test
    void metadataOfPython() {
        try (Arena arena = Arena.ofConfined()) {
            assertThat(Safetensors.open(IoResources.path("metadata.safetensors"), arena)
                            .metadata())
                    .containsOnly(Map.entry("format", "pt"), Map.entry("note", "l\u00edne\nbreak"));
        }
    }

    @Test
    void weWriteThePythonLibrarysBytes() throws IOException {
        Path theirs = IoResources.path("types.safetensors");
        Path ours = dir.resolve("ours.safetensors");
        try (Arena arena = Arena.ofConfined()) {
            List<StoredTensor> tensors =
                    new ArrayList<>(Safetensors.open(theirs, arena).tensors().values());
            java.util.Collections.shuffle(tensors, new Random(1));
            new SafetensorsWriter().write(ours, tensors);
        }
        assertThat(ours).hasSameBinaryContentAs(theirs);
        assertThat(dir.toFile().list()).containsExactly("ours.safetensors");
    }

    @Test
    void shardsThatPythonWrote() {
        try (Arena arena = Arena.ofConfined()) {
            for (Path path :
                    List.of(IoResources.path("sharded"), IoResources.path("sharded/model.safetensors.index.json"))) {
                Safetensors file = Safetensors.open(path, arena);
                assertThat(file.tensors()).hasSize(5);
                for (int i = 0; i < 5; i++) {
                    assertThat(file.get("layers." + i + ".weight").floats())
                            .hasSize(16)
                            .containsOnly(i);
                }
            }
        }
    }

    @Test
    void weWritePythonsShards() throws IOException {
        try (Arena arena = Arena.ofConfined()) {
            List<StoredTensor> tensors = List.copyOf(Safetensors.open(IoResources.path("sharded"), arena)
                    .tensors()
                    .values());
            new SafetensorsWriter().write(dir, "model", tensors, 150);
        }
        for (String name : List.of(
                "model-00001-of-00003.safetensors",
                "model-00002-of-00003.safetensors",
                "model-00003-of-00003.safetensors")) {
            assertThat(dir.resolve(name)).hasSameBinaryContentAs(IoResources.path("sharded/" + name));
        }
        assertThat(Json.readAny(dir.resolve("model.safetensors.index.json")))
                .isEqualTo(Json.readAny(IoResources.path("sharded/model.safetensors.index.json")));
    }

    @Test
    void underTheLimitThereIsOneFileAndNoIndex() {
        new SafetensorsWriter().write(dir, "model", List.of(tensor("a", 4), tensor("b", 4)), 32);
        assertThat(dir.toFile().list()).containsExactly("model.safetensors");
        assertThatThrownBy(() ->
                        new SafetensorsWriter().write(dir, "model", List.of(tensor("a", 4), tensor("b", 4)), 31))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage(dir.resolve("model.safetensors") + " is in the way: it would hide what is to be written");
    }

    @Test
    void aTensorAboveTheLimitHasAFileOfItsOwn() {
        new SafetensorsWriter()
                .write(dir, "m", List.of(tensor("a", 1), tensor("b", 100), tensor("c", 1), tensor("d", 1)), 16);
        try (Arena arena = Arena.ofConfined()) {
            assertThat(Safetensors.open(dir.resolve("m-00002-of-00003.safetensors"), arena)
                            .tensors())
                    .containsOnlyKeys("b");
            assertThat(Safetensors.open(dir.resolve("m.safetensors.index.json"), arena)
                            .tensors())
                    .containsOnlyKeys("a", "b", "c", "d");
        }
    }

    @Test
    void missingShardsAndAbsentTensorsAreAllNamed() throws IOException {
        new SafetensorsWriter().write(dir, "m", List.of(tensor("a", 4), tensor("b", 4), tensor("c", 4)), 16);
        Path index = dir.resolve("m.safetensors.index.json");
        new SafetensorsWriter().write(dir.resolve("m-00001-of-00003.safetensors"), List.of(tensor("other", 4)));
        assertOpenFails(index, index + " lists tensors that are absent: \"a\" in m-00001-of-00003.safetensors");
        Files.delete(dir.resolve("m-00002-of-00003.safetensors"));
        Files.delete(dir.resolve("m-00003-of-00003.safetensors"));
        assertOpenFails(
                index,
                index + " needs files that are missing: m-00002-of-00003.safetensors, m-00003-of-00003.safetensors");
    }

    @Test
    void theIndexDecidesWhichShardATensorComesFrom() {
        new SafetensorsWriter().write(dir.resolve("1.safetensors"), List.of(tensor("a", 1), tensor("b", 1)));
        new SafetensorsWriter().write(dir.resolve("2.safetensors"), List.of(tensor("a", 2), tensor("unlisted", 2)));
        Path index = dir.resolve("model.safetensors.index.json");
        Json.write(index, Map.of("weight_map", Map.of("a", "2.safetensors", "b", "1.safetensors")));
        try (Arena arena = Arena.ofConfined()) {
            Map<String, StoredTensor> tensors = Safetensors.open(dir, arena).tensors();
            assertThat(tensors).containsOnlyKeys("a", "b");
            assertThat(tensors.get("a").count()).isEqualTo(2);
        }
    }

    @Test
    void anIndexCannotReachOutOfItsFolder() throws IOException {
        Path index = dir.resolve("model.safetensors.index.json");
        for (String name : List.of("../secret.safetensors", "/etc/passwd", "..", "a\\b", "")) {
            Json.write(index, Map.of("weight_map", Map.of("a", name)));
            assertOpenFails(
                    index,
                    index + ": weight_map: key \"a\" must be the name of a file in the same folder but is the string \""
                            + name + "\"");
        }
        Json.write(index, Map.of("weight_maps", Map.of()));
        assertOpenFails(index, index + ": key \"weight_map\" is missing; the nearest key there is \"weight_maps\"");
    }

    @Test
    void whatIsNotThereIsSaid() {
        try (Arena arena = Arena.ofConfined()) {
            Path absent = dir.resolve("absent.safetensors");
            assertThatThrownBy(() -> Safetensors.open(absent, arena))
                    .isInstanceOf(UncheckedIOException.class)
                    .hasMessage(absent + ": no such file");
            assertOpenFails(dir, dir + " holds neither model.safetensors nor model.safetensors.index.json");
            Path file = IoResources.path("types.safetensors");
            assertThatThrownBy(() -> Safetensors.open(file, arena).get("scaler"))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage(file + " has no tensor \"scaler\"; the nearest is \"scalar\"");
        }
    }

    @Test
    void numbersAreRoundedToNearestEven() {
        float[] values = {
            1f,
            1 + 0x1p-11f,
            1 + 3 * 0x1p-11f,
            1 + 0x1p-8f,
            1 + 3 * 0x1p-8f,
            65519f,
            0x1p-25f,
            0x1.8p-25f,
            -0f,
            Float.NaN,
            Float.NEGATIVE_INFINITY
        };
        StoredTensor x = StoredTensor.of("x", values, values.length);
        StoredTensor ids = StoredTensor.of("ids", new int[] {3, -3}, 2);
        try (Arena arena = Arena.ofConfined()) {
            new SafetensorsWriter().as(DType.F16).write(dir.resolve("h"), List.of(x, ids));
            Safetensors half = Safetensors.open(dir.resolve("h"), arena);
            assertThat(half.get("x").dtype()).isEqualTo(DType.F16);
            assertThat(half.get("x").floats())
                    .containsExactly(
                            1f,
                            1f,
                            1 + 0x1p-9f,
                            1 + 0x1p-8f,
                            1 + 3 * 0x1p-8f,
                            65504f,
                            0f,
                            0x1p-24f,
                            -0f,
                            Float.NaN,
                            Float.NEGATIVE_INFINITY);
            assertThat(half.get("ids").ints()).containsExactly(3, -3);
            new SafetensorsWriter().as(DType.BF16).write(dir.resolve("b"), List.of(x));
            Safetensors brain = Safetensors.open(dir.resolve("b"), arena);
            assertThat(brain.get("x").floats())
                    .containsExactly(
                            1f,
                            1f,
                            1f,
                            1f,
                            1 + 0x1p-6f,
                            65536f,
                            0x1p-25f,
                            0x1.8p-25f,
                            -0f,
                            Float.NaN,
                            Float.NEGATIVE_INFINITY);
            new SafetensorsWriter()
                    .as(DType.F32)
                    .write(dir.resolve("f"), List.copyOf(half.tensors().values()));
            assertThat(Safetensors.open(dir.resolve("f"), arena).get("x").floats())
                    .isEqualTo(half.get("x").floats());
        }
    }

    @Test
    void aNumberThatWouldBecomeInfiniteIsNamedAndNothingIsLeft() {
        StoredTensor x = StoredTensor.of("x", new float[] {0, 65520f}, 2);
        assertThatThrownBy(() -> new SafetensorsWriter().as(DType.F16).write(dir.resolve("h"), List.of(x)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("tensor \"x\": 65520.0 at index 1 cannot be stored as F16");
        assertThat(dir).isEmptyDirectory();
    }

    @Test
    void whatSafetensorsCannotHold() {
        StoredTensor a = tensor("a", 1);
        assertWriteFails("tensor \"a\" is to be written twice", a, a);
        assertWriteFails("safetensors: no tensor can be named \"__metadata__\"", a.renamed("__metadata__"));
        assertWriteFails(
                "tensor \"q\" is stored as Q8_0, which safetensors does not have",
                new StoredTensor("q", DType.Q8_0, new long[] {32}, MemorySegment.ofArray(new byte[34])));
        assertThatThrownBy(() -> new SafetensorsWriter().as(DType.Q8_0))
                .hasMessage("safetensors: numbers can be written as F32, F16 or BF16, not as Q8_0");
    }

    @Test
    void aLazyTensorIsAskedOnceAndHeldToItsSize() throws IOException {
        List<String> asked = new ArrayList<>();
        TensorEntry good = TensorEntry.lazy("good", DType.F32, new long[] {2}, () -> {
            asked.add("good");
            return StoredTensor.of("", new float[] {1, 2}, 2).data();
        });
        new SafetensorsWriter().write(dir.resolve("f"), List.of(good));
        assertThat(asked).containsExactly("good");
        TensorEntry bad = TensorEntry.lazy("bad", DType.F32, new long[] {3}, good::data);
        byte[] before = Files.readAllBytes(dir.resolve("f"));
        assertThatThrownBy(() -> new SafetensorsWriter().write(dir.resolve("f"), List.of(good, bad)))
                .hasMessage("tensor \"bad\": F32 [3] takes 12 bytes, but has 8");
        assertThat(Files.readAllBytes(dir.resolve("f"))).isEqualTo(before);
        assertThat(dir.toFile().list()).containsExactly("f");
    }

    static Stream<Arguments> lies() {
        String good = "'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}";
        return Stream.of(
                lie(
                        "{'a':{'dtype':'F32','shape':[3],'data_offsets':[0,8]}}",
                        8,
                        "tensor \"a\": F32 [3] takes 12 bytes, but its offsets 0, 8 span 8"),
                lie("{" + good + "}", 4, "truncated or wrong: tensor \"a\" ends at byte 8 of the data, which has 4"),
                lie("{" + good + "}", 9, "the data has 9 bytes, but the tensors end at byte 8: there is a hole"),
                lie(
                        "{'a':{'dtype':'F32','shape':[1],'data_offsets':[4,8]}}",
                        8,
                        "tensor \"a\" begins at byte 4 of the data, but the header ends at 0: there is a hole"),
                lie(
                        "{" + good + ",'b':{'dtype':'F32','shape':[1],'data_offsets':[4,8]}}",
                        8,
                        "tensor \"b\" begins at byte 4 of the data, but tensor \"a\" ends at 8: they overlap"),
                lie(
                        "{" + good + ",'b':{'dtype':'U8','shape':[1],'data_offsets':[9,10]}}",
                        10,
                        "tensor \"b\" begins at byte 9 of the data, but tensor \"a\" ends at 8: there is a hole"),
                lie(
                        "{" + good + "," + good + "}",
                        8,
                        "its header is no valid JSON: line 1, column 58: Duplicate field 'a'"),
                lie(
                        "{'a':{'dtype':'F32','shape':[4294967296,4294967296],'data_offsets':[0,8]}}",
                        8,
                        "tensor \"a\": shape [4294967296, 4294967296] has more than 2^63 elements"),
                lie(
                        "{'a':{'dtype':'F64','shape':[2305843009213693952],'data_offsets':[0,8]}}",
                        8,
                        "tensor \"a\": F64 [2305843009213693952] has more than 2^63 bytes"),
                lie(
                        "{'a':{'dtype':'F32','shape':[99999999999999999999],'data_offsets':[0,8]}}",
                        8,
                        "tensor \"a\": shape must hold numbers from 0 to 2^63 - 1 but has 99999999999999999999"),
                lie(
                        "{'a':{'dtype':'F32','shape':[-1],'data_offsets':[0,8]}}",
                        8,
                        "tensor \"a\": shape must hold numbers from 0 to 2^63 - 1 but has -1"),
                lie(
                        "{'a':{'dtype':'F32','shape':[2.0],'data_offsets':[0,8]}}",
                        8,
                        "tensor \"a\": shape must be a list of integers but is 2.0"),
                lie(
                        "{'a':{'dtype':'F32','shape':2,'data_offsets':[0,8]}}",
                        8,
                        "tensor \"a\": shape must be a list of integers but is 2"),
                lie(
                        "{'a':{'dtype':'F32','shape':[2],'data_offsets':[8,0]}}",
                        8,
                        "tensor \"a\": data_offsets must be [begin, end] but are [8, 0]"),
                lie(
                        "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0]}}",
                        8,
                        "tensor \"a\": data_offsets must be [begin, end] but are [0]"),
                lie(
                        "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8,8]}}",
                        8,
                        "tensor \"a\": data_offsets has more than 2 numbers"),
                lie(
                        "{'a':{'dtype':'F8_E4M3','shape':[8],'data_offsets':[0,8]}}",
                        8,
                        "tensor \"a\" is stored as F8_E4M3, which is not supported; supported are "
                                + "[I64, F64, F32, I32, BF16, F16, I16, I8, U8, BOOL]"),
                lie(
                        "{'a':{'dtype':'Q8_0','shape':[32],'data_offsets':[0,34]}}",
                        34,
                        "tensor \"a\" is stored as Q8_0, which is not supported; supported are "
                                + "[I64, F64, F32, I32, BF16, F16, I16, I8, U8, BOOL]"),
                lie("{'a':{'shape':[2],'data_offsets':[0,8]}}", 8, "tensor \"a\" has no dtype"),
                lie("{'a':{'dtype':'F32','data_offsets':[0,8]}}", 8, "tensor \"a\" has no shape"),
                lie("{'a':{'dtype':'F32','shape':[2]}}", 8, "tensor \"a\" has no data_offsets"),
                lie("{'a':7}", 8, "tensor \"a\" must be an object with dtype, shape and data_offsets but is 7"),
                lie("{'__metadata__':{'x':1}}", 0, "__metadata__.x must be a string but is 1"),
                lie("{'__metadata__':[]}", 0, "__metadata__ must be an object of strings but is ["),
                lie("[]", 0, "no safetensors file: its header does not begin with '{'"),
                lie(
                        "{} x",
                        0,
                        "its header is no valid JSON: line 1, column 4: Unrecognized token 'x'"
                                + ": was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')"),
                lie("{} {}", 0, "its header is no JSON object: text follows the last brace"));
    }

    private static Arguments lie(String header, int dataBytes, String message) {
        return Arguments.of(header.replace('\'', '"'), dataBytes, message);
    }

    @ParameterizedTest
    @MethodSource("lies")
    void headersThatLie(String header, int dataBytes, String message) throws IOException {
        assertFileFails(file(header.getBytes(StandardCharsets.UTF_8), dataBytes), message);
    }

    @Test
    void filesThatAreTooShortOrNoneAtAll() throws IOException {
        assertFileFails(new byte[0], "no safetensors file: it has 0 bytes, a header takes at least 8");
        assertFileFails(new byte[7], "no safetensors file: it has 7 bytes, a header takes at least 8");
        assertFileFails(new byte[8], "no safetensors file: its header does not begin with '{'");
        assertFileFails(length(100), "truncated: the header should have 100 bytes, but only 0 follow its length");
        assertFileFails(
                length(-1),
                "no safetensors file: a header of 18446744073709551615 bytes, at most 100000000 are allowed");
        assertFileFails(
                length(100_000_001), "no safetensors file: a header of 100000001 bytes, at most 100000000 are allowed");
    }

    /** Any byte changed, any length cut: a clear exception or a file that is still whole, and quickly. */
    @Test
    void mutatedFilesEndInClearErrors() throws IOException {
        byte[] good = Files.readAllBytes(IoResources.path("types.safetensors"));
        Random random = new Random(3);
        int rejected = Mutations.tryAll(good, random, 1_200, dir.resolve("m.safetensors"), (file, arena) -> {
            for (StoredTensor tensor : Safetensors.open(file, arena).tensors().values()) {
                tensor.floats();
            }
        });
        assertThat(rejected).isGreaterThan(600);
    }

    @Test
    void aLongHeaderOfDeepOrHugeThingsEndsQuickly() throws IOException {
        String deep = "{\"a\":{\"x\":" + "[".repeat(1_000_000);
        String many = "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,0],\"shape\":[" + "1,".repeat(1_000_000) + "1]}}";
        String digits = "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,0],\"shape\":[" + "9".repeat(1_000_000) + "]}}";
        for (String header : List.of(deep, many, digits)) {
            Path file = dir.resolve("x.safetensors");
            Files.write(file, file(header.getBytes(StandardCharsets.UTF_8), 0));
            Assertions.assertThatCode(() -> org.junit.jupiter.api.Assertions.assertTimeout(
                            Duration.ofSeconds(5),
                            () -> assertThatThrownBy(() -> {
                                        try (Arena arena = Arena.ofConfined()) {
                                            Safetensors.open(file, arena);
                                        }
                                    })
                                    .isInstanceOf(IllegalArgumentException.class)
                                    .hasMessageStartingWith(file + ": ")
                                    .hasMessageNotContaining("\n")))
                    .doesNotThrowAnyException();
        }
    }

    /** Every safetensors file among the reference numbers opens, and all of its numbers can be read. */
    @Test
    void goldenFilesOpen() throws IOException {
        List<Path> files;
        try (Stream<Path> walk = Files.isDirectory(Golden.root()) ? Files.walk(Golden.root()) : Stream.empty()) {
            files = walk.filter(p -> p.toString().endsWith(".safetensors"))
                    .sorted()
                    .toList();
        }
        Assumptions.assumeFalse(files.isEmpty(), "no golden folder: nothing to read");
        for (Path file : files) {
            try (Arena arena = Arena.ofConfined()) {
                Safetensors opened = Safetensors.open(file, arena);
                long bytes = 0;
                for (StoredTensor tensor : opened.tensors().values()) {
                    assertThat(tensor.floats()).hasSize((int) tensor.count());
                    bytes += tensor.data().byteSize();
                }
                assertThat(bytes).isBetween(Files.size(file) * 1 / 10, Files.size(file));
            }
        }
        Golden.report("io/safetensors", files.size(), 0);
    }

    private static StoredTensor tensor(String name, int size) {
        return StoredTensor.of(name, new float[size], size);
    }

    private static byte[] length(long header) {
        return ByteBuffer.allocate(8)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(header)
                .array();
    }

    private static byte[] file(byte[] header, int dataBytes) {
        return ByteBuffer.allocate(8 + header.length + dataBytes)
                .put(length(header.length))
                .put(header)
                .array();
    }

    private void assertFileFails(byte[] content, String message) throws IOException {
        Path file = dir.resolve("x.safetensors");
        Files.write(file, content);
        assertOpenFails(file, file + ": " + message);
    }

    private static void assertOpenFails(Path path, String message) {
        try (Arena arena = Arena.ofConfined()) {
            assertThatThrownBy(() -> Safetensors.open(path, arena))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage(message);
        }
    }

    private void assertWriteFails(String message, StoredTensor... tensors) {
        assertThatThrownBy(() -> new SafetensorsWriter().write(dir.resolve("w"), List.of(tensors)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage(message);
        assertThat(dir).isEmptyDirectory();
    }
}
