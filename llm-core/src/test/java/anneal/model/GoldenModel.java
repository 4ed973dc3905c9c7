package anneal.model;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.Golden;
import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.io.Safetensors;
import anneal.io.StoredTensor;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** A folder of golden/models: the model and what transformers computed with it. */
record GoldenModel(Path folder, Map<String, StoredTensor> tensors, JsonObject facts, int batch, int length) {
    /** Families that this version does not read; a folder of any other family must pass. */
    private static final Set<String> LATER = Set.of("gemma2", "glm", "chatglm", "mixtral", "phi3", "baichuan");

    /** The folders of the families that are read. */
    static List<Path> folders() {
        return Golden.cases("models").stream()
                .filter(f -> !LATER.contains(Json.read(f.resolve("config.json")).string("model_type")))
                .toList();
    }

    static GoldenModel read(Path folder, Arena arena) {
        Map<String, StoredTensor> t =
                Safetensors.open(folder.resolve("golden.safetensors"), arena).tensors();
        long[] shape = t.get("input_ids").shape();
        return new GoldenModel(folder, t, Json.read(folder.resolve("golden.json")), (int) shape[0], (int) shape[1]);
    }

    String name() {
        return folder.getFileName().toString();
    }

    boolean has(String tensor) {
        return tensors.containsKey(tensor);
    }

    float[] floats(String tensor) {
        assertThat(has(tensor))
                .as("%s/golden.safetensors has %s", folder, tensor)
                .isTrue();
        return tensors.get(tensor).floats();
    }

    int[] ints(String tensor) {
        return tensors.get(tensor).ints();
    }

    Tokens tokens() {
        return Tokens.of(ints("input_ids"), batch, length);
    }

    /** The label of the next position, -1 where none is trained. */
    int[] targets() {
        int[] labels = ints("labels"), targets = new int[labels.length];
        for (int i = 0; i < labels.length; i++) {
            targets[i] = i % length == length - 1 || labels[i + 1] < 0 ? -1 : labels[i + 1];
        }
        return targets;
    }

    int trained() {
        return (int) java.util.Arrays.stream(targets()).filter(t -> t >= 0).count();
    }

    /** The largest absolute difference; fails above the tolerance. */
    static double close(String what, float[] actual, float[] expected, double tolerance) {
        assertThat(actual.length).as(what + ": number of elements").isEqualTo(expected.length);
        double worst = 0;
        int at = 0;
        for (int i = 0; i < actual.length; i++) {
            double d = Math.abs(actual[i] - expected[i]);
            if (!(d <= worst)) {
                worst = d;
                at = i;
            }
        }
        assertThat(worst)
                .as(
                        "%s: element %d is %s, expected %s",
                        what, at, actual.length == 0 ? 0 : actual[at], expected.length == 0 ? 0 : expected[at])
                .isLessThanOrEqualTo(tolerance);
        return worst;
    }
}
