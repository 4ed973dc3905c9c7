package anneal.model;

import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.io.Safetensors;
import anneal.io.StoredTensor;
import anneal.nn.LayerWatch;
import anneal.nn.Linear;
import anneal.nn.StoredWeight;
import anneal.tensor.DType;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * Classifiers on disk: folders of transformers' LlamaForSequenceClassification and its relatives.
 *
 * <p>They are a model's folder without the output projection and with the matrix "score.weight" [C, D]; config.json has the names of the
 * labels as {@code id2label}, and as {@code pad_token_id} the id that texts of a batch are filled up with. Without {@code id2label} the
 * labels are called as transformers calls them, LABEL_0, LABEL_1.
 */
public final class ClassifierFiles {
    private static final String SCORE = "score.weight", ID2LABEL = "id2label", TASK = "problem_type";
    private static final String SINGLE = "single_label_classification", CLASS = "ForSequenceClassification";

    private ClassifierFiles() {}

    /**
     * A classifier and its labels.
     *
     * @param labels names, by number
     */
    public record Loaded(SequenceClassifier model, List<String> labels) {
        public Loaded {
            labels = List.copyOf(labels);
        }
    }

    /**
     * The classifier of a folder, its matrices mapped and not trained.
     *
     * @param arena how long it lives
     * @throws IllegalArgumentException if the folder holds no classifier with one label a text, or config and tensors do not fit: names
     *     file and key, or every tensor
     */
    public static Loaded load(Path folder, Arena arena) {
        JsonObject json = Json.read(folder.resolve("config.json"));
        List<String> classes = json.has("architectures") ? json.strings("architectures") : List.of();
        if (classes.stream().noneMatch(c -> c.endsWith(CLASS))) {
            throw json.error("architectures", "must name a class that ends with " + CLASS + ", not " + classes);
        }
        if (!json.string(TASK, SINGLE).equals(SINGLE)) {
            throw json.error(TASK, "must be " + SINGLE + ", not " + json.string(TASK));
        }
        // There is no output projection to read: as if it were the embedding.
        Map<String, Object> tied = new LinkedHashMap<>(json.map());
        tied.put("tie_word_embeddings", true);
        JsonObject body = new JsonObject(tied, json.where());
        DecoderConfig config = DecoderConfig.of(body);
        Map<String, StoredTensor> tensors =
                new LinkedHashMap<>(Safetensors.open(folder, arena).tensors());
        StoredTensor score = tensors.remove(SCORE);
        long[] shape = score == null ? new long[0] : score.shape();
        if (shape.length != 2 || shape[0] < 2 || shape[1] != config.hiddenSize()) {
            throw new IllegalArgumentException(folder + ": " + SCORE
                    + (score == null ? " is missing" : " is " + Arrays.toString(shape)) + "; it must be [labels, "
                    + config.hiddenSize() + "], with at least 2 labels");
        }
        List<String> labels = labels(json, (int) shape[0]);
        Decoder decoder = ModelFiles.load(folder, body, tensors, arena);
        Linear head = new Linear(
                new StoredWeight(score.dtype().matrix(score.data(), labels.size(), config.hiddenSize()), score.dtype()),
                null);
        return new Loaded(new SequenceClassifier(decoder, head, config.tokens().pad()), labels);
    }

    private static List<String> labels(JsonObject json, int count) {
        if (!json.has(ID2LABEL)) {
            return IntStream.range(0, count).mapToObj(i -> "LABEL_" + i).toList();
        }
        JsonObject names = json.object(ID2LABEL);
        if (names.keys().size() != count) {
            throw json.error(ID2LABEL, "names " + names.keys().size() + " labels, but " + SCORE + " has " + count);
        }
        return IntStream.range(0, count)
                .mapToObj(i -> names.string(Integer.toString(i)))
                .toList();
    }

    /**
     * Writes config.json and safetensors into a folder that exists, for transformers and {@link #load}.
     *
     * @param labels names, by number; as many as the classifier has, all different
     * @param type of the numbers, F32, F16 or BF16
     */
    public static void save(SequenceClassifier model, List<String> labels, Path folder, DType type) {
        if (labels.size() != model.labels() || labels.stream().distinct().count() < labels.size()) {
            throw new IllegalArgumentException(
                    "save: the classifier needs " + model.labels() + " different names of labels, not " + labels);
        }
        Decoder body = model.body();
        DecoderConfig.SpecialTokens tokens = body.config().tokens();
        Map<String, Object> json = new LinkedHashMap<>(body.config()
                .withTokens(new DecoderConfig.SpecialTokens(tokens.bos(), tokens.eos(), model.padding()))
                .toJson());
        json.put(
                "architectures",
                List.of(body.config().family().architecture().replaceFirst("(LMHeadModel|ForCausalLM)$", CLASS)));
        Map<String, String> names = new LinkedHashMap<>();
        Map<String, Integer> numbers = new LinkedHashMap<>();
        for (int i = 0; i < labels.size(); i++) {
            names.put(Integer.toString(i), labels.get(i));
            numbers.put(labels.get(i), i);
        }
        json.put(ID2LABEL, names);
        json.put("label2id", numbers);
        json.put(TASK, SINGLE);
        List<ModelTensor> tensors = new ArrayList<>(ModelTensor.of(body));
        tensors.removeIf(t -> t.layer().equals(body.head().path()));
        tensors.add(ModelTensor.of(model.head().path(), model.head().weight()));
        ModelFiles.write(model, body.config(), json, tensors, folder, type, LayerWatch.NONE);
    }
}
