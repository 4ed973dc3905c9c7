package anneal.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class JsonTest {
    @TempDir
    Path dir;

    enum Bias {
        NONE,
        ALL,
        LORA_ONLY
    }

    sealed interface Schedule permits Cosine, WarmUpStableDecay {}

    record Cosine(double rate, int warmUp) implements Schedule {}

    record WarmUpStableDecay(double rate) implements Schedule {}

    record Adapter(int rank, double alpha, Bias bias, List<String> targetModules, Boolean rsLora) {
        Adapter {
            if (rank < 1) {
                throw new IllegalArgumentException("rank must be at least 1 but is " + rank);
            }
        }
    }

    record Run(String name, Adapter adapter, Schedule schedule, long seed, Map<String, Integer> extra) {}

    private static final Run RUN = new Run(
            "first",
            new Adapter(8, 16, Bias.LORA_ONLY, List.of("q_proj", "v_proj"), null),
            new Cosine(2e-4, 50),
            1L << 40,
            Map.of("x", 1));

    @Test
    void recordsComeBackAsTheyWere() throws IOException {
        Path file = dir.resolve("run.json");
        Json.write(file, RUN);
        assertThat(Json.read(file, Run.class)).isEqualTo(RUN);
        assertThat(Files.readString(file)).isEqualTo("""
                        {
                          "name": "first",
                          "adapter": {
                            "rank": 8,
                            "alpha": 16.0,
                            "bias": "lora_only",
                            "target_modules": [
                              "q_proj",
                              "v_proj"
                            ],
                            "rs_lora": null
                          },
                          "schedule": {
                            "type": "cosine",
                            "rate": 2.0E-4,
                            "warm_up": 50
                          },
                          "seed": 1099511627776,
                          "extra": {
                            "x": 1
                          }
                        }
                        """);
        assertThat(Json.toObject(RUN).object("schedule").string("type")).isEqualTo("cosine");
        Run other = new Run("b", RUN.adapter(), new WarmUpStableDecay(1), 0, Map.of());
        Json.write(file, other);
        assertThat(Json.read(file, Run.class)).isEqualTo(other);
        assertThat(dir.toFile().list()).containsExactly("run.json");
    }

    @Test
    void anUnknownKeyNamesTheNearestKnownOne() {
        assertRunFails("\"sede\": 1", "unknown key \"sede\"; the nearest known one is \"seed\"");
        assertRunFails(
                "\"adapter\": {\"ranks\": 8}", "adapter: unknown key \"ranks\"; the nearest known one is \"rank\"");
        assertRunFails(
                "\"schedule\": {\"type\": \"cosine\", \"rate\": 1, \"warmup\": 3}",
                "schedule: unknown key \"warmup\"; the nearest known one is \"warm_up\"");
    }

    @Test
    void anUnknownKeyCanBeAWarning() {
        JsonObject object = Json.parse("{\"rate\": 0.5, \"warm_up\": 1, \"news\": {\"a\": [1, 2]}}", "x.json");
        assertThat(Json.convert(object, Cosine.class, Json.UnknownKeys.WARN)).isEqualTo(new Cosine(0.5, 1));
    }

    @Test
    void wrongTypesNameKeyAndBothSides() {
        String rest = ", \"alpha\": 1, \"bias\": \"ALL\"}";
        assertRunFails(
                "\"adapter\": {\"rank\": \"eight\"" + rest,
                "key \"adapter.rank\" must be an integer but is the string \"eight\"");
        assertRunFails(
                "\"adapter\": {\"rank\": \"8\"" + rest,
                "key \"adapter.rank\" must be an integer but is the string \"8\"");
        assertRunFails("\"adapter\": {\"rank\": 8.5" + rest, "key \"adapter.rank\" must be an integer but is 8.5");
        assertRunFails("\"adapter\": {\"rank\": null" + rest, "key \"adapter.rank\" must be an integer but is null");
        assertRunFails(
                "\"adapter\": {\"rank\": [8]" + rest, "key \"adapter.rank\" must be an integer but is a list of 1");
        assertRunFails("\"seed\": true", "key \"seed\" must be an integer but is true");
        assertRunFails("\"seed\": 99999999999999999999", "key \"seed\" must be an integer but is 99999999999999999999");
        assertRunFails("\"name\": 5", "key \"name\" must be a string but is 5");
        assertRunFails(
                "\"adapter\": {\"rank\": 8, \"target_modules\": \"q_proj\"}",
                "key \"adapter.target_modules\" must be a list but is the string \"q_proj\"");
        assertRunFails("\"adapter\": [1]", "key \"adapter\" must be an object but is a list of 1");
        assertRunFails(
                "\"adapter\": {\"rank\": 8, \"rs_lora\": \"yes\"}",
                "key \"adapter.rs_lora\" must be true or false but is the string \"yes\"");
        assertRunFails("\"extra\": {\"x\": \"y\"}", "key \"extra.x\" must be an integer but is the string \"y\"");
        assertRunFails(
                "\"adapter\": {\"rank\": 8, \"bias\": \"lora-only\"}",
                "key \"adapter.bias\" must be one of none, all, lora_only but is the string \"lora-only\"; "
                        + "the nearest is \"lora_only\"");
        assertRunFails(
                "\"schedule\": {\"type\": \"cosin\", \"rate\": 1}",
                "key \"schedule.type\" must be one of cosine, warm_up_stable_decay but is \"cosin\"; "
                        + "the nearest is \"cosine\"");
        assertRunFails(
                "\"schedule\": {\"rate\": 1}",
                "key \"schedule.type\" is missing; it must be one of cosine, warm_up_stable_decay");
    }

    @Test
    void aMissingNumberIsNoZeroAndAConstructorsWordIsKept() {
        assertRunFails(
                "\"adapter\": {\"rank\": 8, \"alpha\": 1, \"ranks\": 9}",
                "adapter: unknown key \"ranks\"; the nearest known one is \"rank\"");
        assertRunFails("\"adapter\": {\"alpha\": 1}", "key \"adapter.rank\" is missing");
        assertRunFails("\"adapter\": {\"rank\": 0, \"alpha\": 1}", "adapter: rank must be at least 1 but is 0");
    }

    @Test
    void whatIsNoJsonIsSaidWithLineAndColumn() throws IOException {
        Path file = dir.resolve("config.json");
        assertReadFails(file, "", " is empty, not JSON");
        assertReadFails(file, " \n", " is empty, not JSON");
        assertReadFails(file, "[1]", " must hold a JSON object but holds a list of 1");
        assertReadFails(file, "{\"a\": 1} {}", ": line 1, column 10: ");
        assertReadFails(file, "{\n  \"a\": 1,\n  \"a\": 2\n}", ": line 3, column 6: Duplicate field 'a'");
        assertReadFails(file, "{\n \"a\": tru\n}", ": line 2, column 7: Unrecognized token 'tru'");
        assertReadFails(file, "{\"a\": ", ": line 1, column ");
        assertReadFails(file, "{\"a\":" + "[".repeat(100_000), ": Document nesting depth (1001) exceeds");
        Files.write(file, new byte[] {'{', '"', (byte) 0xff, '"', ':', '1', '}'});
        assertThatThrownBy(() -> Json.read(file))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage(file + ": no UTF-8 at byte 2");
        Files.write(file, "{\"a\": 1}".getBytes(StandardCharsets.UTF_16LE));
        assertThatThrownBy(() -> Json.read(file)).isInstanceOf(IllegalArgumentException.class);
        Path absent = dir.resolve("absent.json");
        assertThatThrownBy(() -> Json.read(absent))
                .isInstanceOf(UncheckedIOException.class)
                .hasMessage(absent + ": no such file");
    }

    @Test
    void whatPythonWritesIsRead() throws IOException {
        Path file = dir.resolve("config.json");
        Files.writeString(
                file, "\ufeff{\"eps\": 1e-05, \"limit\": Infinity, \"loss\": NaN, \"big\": 18446744073709551615}");
        JsonObject object = Json.read(file);
        assertThat(object.number("eps")).isEqualTo(1e-5);
        assertThat(object.number("limit")).isInfinite();
        assertThat(object.number("loss")).isNaN();
        assertThat(object.get("big")).isEqualTo(new BigInteger("18446744073709551615"));
        assertThat(Json.line(Map.of("loss", Double.NaN))).isEqualTo("{\"loss\":NaN}");
    }

    @Test
    void typedAccess() {
        JsonObject o = Json.parse(
                "{'s':'x','i':3,'l':5000000000,'d':1.5,'b':true,'n':null,'o':{'k':1},'a':[1,2],'t':['p','q'],'os':[{'z':1}]}"
                        .replace('\'', '"'),
                "config.json");
        assertThat(o.string("s")).isEqualTo("x");
        assertThat(o.integer("i")).isEqualTo(3);
        assertThat(o.longInteger("l")).isEqualTo(5_000_000_000L);
        assertThat(o.longInteger("i")).isEqualTo(3);
        assertThat(o.number("d")).isEqualTo(1.5);
        assertThat(o.number("i")).isEqualTo(3);
        assertThat(o.flag("b")).isTrue();
        assertThat(o.has("n")).isFalse();
        assertThat(o.integer("n", 8)).isEqualTo(8);
        assertThat(o.string("absent", "y")).isEqualTo("y");
        assertThat(o.flag("absent", true)).isTrue();
        assertThat(o.number("absent", 2)).isEqualTo(2);
        assertThat(o.longInteger("absent", 2)).isEqualTo(2);
        assertThat(o.object("o").integer("k")).isEqualTo(1);
        assertThat(o.list("a")).containsExactly(1, 2);
        assertThat(o.integers("a")).containsExactly(1, 2);
        assertThat(o.numbers("a")).containsExactly(1, 2);
        assertThat(o.strings("t")).containsExactly("p", "q");
        assertThat(o.objects("os").getFirst().integer("z")).isEqualTo(1);
        assertThat(o.keys()).containsExactly("s", "i", "l", "d", "b", "n", "o", "a", "t", "os");

        assertMessage(() -> o.integer("l"), "config.json: key \"l\" must be an integer but is 5000000000");
        assertMessage(() -> o.integer("d"), "config.json: key \"d\" must be an integer but is 1.5");
        assertMessage(() -> o.string("i"), "config.json: key \"i\" must be a string but is 3");
        assertMessage(() -> o.flag("s"), "config.json: key \"s\" must be true or false but is the string \"x\"");
        assertMessage(() -> o.number("o"), "config.json: key \"o\" must be a number but is an object of 1 keys");
        assertMessage(() -> o.get("n"), "config.json: key \"n\" is null");
        assertMessage(
                () -> o.object("o").get("kk"), "config.json: o: key \"kk\" is missing; the nearest key there is \"k\"");
        assertMessage(() -> o.strings("a"), "config.json: key \"a[0]\" must be a string but is 1");
        assertMessage(() -> o.integers("t"), "config.json: key \"t[0]\" must be an integer but is the string \"p\"");
        assertMessage(() -> o.objects("a"), "config.json: key \"a[0]\" must be an object but is 1");
        assertMessage(
                () -> o.object("o").requireKnown(List.of("rank", "kay")),
                "config.json: o: unknown key \"k\"; the nearest known one is \"kay\"");
        assertMessage(() -> Json.parse("{} x", "train.jsonl: line 3"), "train.jsonl: line 3: line 1, column 4: ");
    }

    @Test
    void theNearestName() {
        List<String> known = List.of("rank", "alpha", "target_modules", "dropout");
        assertThat(Json.nearest("lora_alpha", known)).hasValue("alpha");
        assertThat(Json.nearest("targte_module", known)).hasValue("target_modules");
        assertThat(Json.nearest("RANK", known)).hasValue("rank");
        assertThat(Json.nearest("ab", List.of("ba", "cd"))).hasValue("ba");
        assertThat(Json.nearest("x", List.of())).isEmpty();
    }

    @Test
    void aFailedWriteLeavesTheOldFile() throws IOException {
        Path file = dir.resolve("state.json");
        Json.write(file, Map.of("a", 1));
        assertThatThrownBy(() -> AtomicFile.write(file, channel -> {
                    channel.write(java.nio.ByteBuffer.wrap(new byte[100]));
                    throw new IOException("No space left on device");
                }))
                .hasMessage("No space left on device");
        assertThat(Json.read(file).integer("a")).isEqualTo(1);
        assertThat(dir.toFile().list()).containsExactly("state.json");
        Path nowhere = dir.resolve("no/state.json");
        assertThatThrownBy(() -> Json.write(nowhere, Map.of()))
                .isInstanceOf(UncheckedIOException.class)
                .hasMessageStartingWith(nowhere + " cannot be written: ");
    }

    private void assertRunFails(String replacement, String message) {
        Map<String, Object> fields = new LinkedHashMap<>(Json.toObject(RUN).map());
        fields.putAll(Json.parse("{" + replacement + "}", "test").map());
        Path file = dir.resolve("run.json");
        Json.write(file, fields);
        assertThatThrownBy(() -> Json.read(file, Run.class))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage(file + ": " + message);
    }

    private static void assertReadFails(Path file, String content, String message) throws IOException {
        Files.writeString(file, content);
        assertMessage(() -> Json.read(file), file + message);
    }

    private static void assertMessage(org.assertj.core.api.ThrowableAssert.ThrowingCallable call, String start) {
        assertThatThrownBy(call)
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith(start)
                .hasMessageNotContaining("\n");
    }
}
