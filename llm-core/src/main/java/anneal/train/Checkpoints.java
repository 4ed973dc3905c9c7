package anneal.train;

import anneal.io.Checkpoint;
import anneal.io.CheckpointException;
import anneal.io.CheckpointStore;
import anneal.io.CheckpointStore.Best;
import anneal.io.CheckpointStore.Keep;
import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.io.NamedTensors;
import anneal.io.SafetensorsWriter;
import anneal.io.StoredTensor;
import anneal.nn.Trainable;
import anneal.tensor.Tensor;
import anneal.train.DataCursor.Position;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalDouble;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What a run needs to go on as if it had not stopped: parameters, what the method and the optimiser remember, number of steps, position
 * in the data, best loss, and the rule and configuration they belong to. Dropout needs no state: it is seeded from (seed, step).
 */
final class Checkpoints {
    private static final Logger LOG = LoggerFactory.getLogger(Checkpoints.class);
    private static final String PARAMETERS = "parameters", METHOD = "method", OPTIMIZER = "optimizer", RUN = "run";

    /** Where a restored run stands. */
    record Saved(Position position, double bestLoss) {}

    private final TrainConfig config;
    private final Trainable trainable;
    private final Optimizer optimizer;
    private final CheckpointStore store;
    private Path last;
    private boolean open;

    Checkpoints(TrainConfig config, Trainable trainable, Optimizer optimizer) {
        this.config = config;
        this.trainable = trainable;
        this.optimizer = optimizer;
        int keep = config.keepLast() == 0 ? Integer.MAX_VALUE : config.keepLast();
        store = config.checkpoints() == null
                ? null
                : new CheckpointStore(config.checkpoints(), new Keep(keep, Best.LOWEST));
    }

    /** The checkpoint that was saved or restored last. */
    Optional<Path> last() {
        return Optional.ofNullable(last);
    }

    /** Before the first step: checkpoints of another run must not be mixed with those of this one. */
    void open() {
        if (store == null || open) {
            return;
        }
        Path root = config.checkpoints().toAbsolutePath().normalize();
        boolean ours = last != null && last.toAbsolutePath().normalize().startsWith(root);
        if (!ours && Files.exists(root) && !store.list().isEmpty()) {
            throw new IllegalArgumentException("fit: the checkpoint folder " + config.checkpoints()
                    + " holds a run already: resume from it or choose another");
        }
        open = true;
    }

    /** Saves the state after the last step; the metric, if there is one, decides which checkpoint is the best. */
    void save(Position position, OptionalDouble metric, double bestLoss) {
        if (store == null) {
            return;
        }
        Map<String, Object> run = new LinkedHashMap<>();
        run.put("step", optimizer.steps());
        run.put("epoch", position.epoch());
        run.put("batch", position.batch());
        run.put("best_loss", Double.isFinite(bestLoss) ? bestLoss : null);
        Map<String, Long> began = optimizer.began();
        if (!began.isEmpty()) {
            run.put("began", began);
        }
        run.put("rule", optimizer.rule().toString());
        run.put("config", config);
        last = store.save(optimizer.steps(), metric, folder -> {
                    Json.write(folder.resolve(RUN + ".json"), run);
                    write(folder, PARAMETERS, NamedTensors.stored(trainable.parameters(), ""));
                    if (!trainable.state().isEmpty()) {
                        write(folder, METHOD, NamedTensors.stored(trainable.state(), ""));
                    }
                    write(folder, OPTIMIZER, List.copyOf(optimizer.state().values()));
                })
                .folder();
    }

    private static void write(Path folder, String name, List<StoredTensor> tensors) {
        new SafetensorsWriter().metadata("format", "pt").write(folder.resolve(name + ".safetensors"), tensors);
    }

    /** Fills parameters and optimiser from a checkpoint, or from the last one of a folder. */
    Saved restore(Path path) {
        Path folder = Files.exists(path.resolve(Checkpoint.MANIFEST))
                ? path
                : new CheckpointStore(path, Keep.ALL)
                        .latest()
                        .orElseThrow(() -> new CheckpointException(path, "there is no checkpoint to resume from", null))
                        .folder();
        Checkpoint checkpoint = Checkpoint.open(folder);
        JsonObject run = checkpoint.json(RUN);
        requireSame(folder, run);
        try (Arena arena = Arena.ofShared()) {
            fill(trainable.parameters(), checkpoint, PARAMETERS, arena);
            if (requireMemory(folder)) {
                fill(trainable.state(), checkpoint, METHOD, arena);
            }
            trainable.restored();
            NamedTensors.copy(
                    optimizer.state(), checkpoint.tensors(OPTIMIZER, arena).tensors(), folder + ": " + OPTIMIZER);
        }
        optimizer.steps(run.longInteger("step"));
        optimizer.began(began(run));
        last = folder;
        return new Saved(
                new Position(run.integer("epoch"), run.longInteger("batch")),
                run.number("best_loss", Double.POSITIVE_INFINITY));
    }

    private static Map<String, Long> began(JsonObject run) {
        Map<String, Long> all = new LinkedHashMap<>();
        if (run.has("began")) {
            JsonObject o = run.object("began");
            o.keys().forEach(name -> all.put(name, o.longInteger(name)));
        }
        return all;
    }

    private static void fill(Map<String, Tensor> tensors, Checkpoint from, String name, Arena arena) {
        NamedTensors.fill(tensors, "", from.tensors(name, arena).tensors(), from.folder() + ": " + name);
    }

    /** True if the method remembers something; then so must the checkpoint, and only then. */
    private boolean requireMemory(Path folder) {
        boolean has = Files.exists(folder.resolve(METHOD + ".safetensors"));
        if (has == trainable.state().isEmpty()) {
            throw new IllegalArgumentException("resume: " + folder + (has ? " has a " : " has no ") + METHOD
                    + ".safetensors: it was made by a run of another method");
        }
        return has;
    }

    /** Another rule cannot use the state; other numbers in the configuration can be meant, so they are only told. */
    private void requireSame(Path folder, JsonObject run) {
        if (!run.string("rule").equals(optimizer.rule().toString())) {
            throw new IllegalArgumentException(
                    "resume: " + folder + " was made with " + run.string("rule") + ", not with " + optimizer.rule());
        }
        Map<String, Object> then = run.object("config").map(),
                now = Json.toObject(config).map();
        now.forEach((key, value) -> {
            if (changesTheRun(key) && !Objects.equals(value, then.get(key))) {
                LOG.warn(
                        "resume: {} was {}, is now {}: the run will not be the one it would have been",
                        key,
                        then.get(key),
                        value);
            }
        });
    }

    /** False for what only decides when something is written, and for the length of a run whose rate does not depend on it. */
    private boolean changesTheRun(String key) {
        return switch (key) {
            case "checkpoints", "optimizerPages", "logEvery", "evalEvery", "saveEvery", "keepLast" -> false;
            case "steps", "epochs" -> !(config.schedule() instanceof Schedule.Constant);
            default -> true;
        };
    }
}
