package anneal.peft;

import anneal.io.Safetensors;
import anneal.nn.Trainable;
import anneal.tensor.Ops;
import anneal.tensor.PenaltyOps;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * O-LoRA: a task learns a LoRA of its own, in directions that the LoRAs of earlier tasks do not read.
 *
 * <pre>
 * loss = mean nll + overlap sum over layers and earlier tasks i of sum |A_i At|          entry by entry, A [R, in]
 *                 + size sum over layers of |A| + |B|                                    norms, not squared
 * </pre>
 *
 * <p>What an earlier LoRA adds is B_i A_i x, so a new one whose rows of A are orthogonal to those of A_i acts on another part of x.
 * The earlier ones stay frozen in the model: merge each before the next is attached. Wang et al., arXiv:2310.14152; absolute values and
 * norms are those of its code, the paper writes squares. Layers that an earlier task did not adapt have no overlap with it. Not to be
 * taken for OLoRA, a way to start a LoRA ({@link LoraInit.Olora}).
 *
 * @param trained the LoRA of the new task
 * @param earlier for each earlier task its parameters by the same names; of them A is read
 * @param overlap weight of the overlap; 0.5 in the paper's runs
 * @param size weight of the norms; 0 in most of them
 */
public record OrthogonalLora(Trainable trained, List<Map<String, Tensor>> earlier, double overlap, double size)
        implements Penalised {
    private static final String A = "lora_A.weight", B = "lora_B.weight", PREFIX = "base_model.model.";

    public OrthogonalLora {
        earlier = List.copyOf(earlier);
        Penalised.requireWeight("OrthogonalLora", "overlap", overlap);
        Penalised.requireWeight("OrthogonalLora", "size", size);
        Map<String, Tensor> now = trained.parameters();
        if (now.keySet().stream().noneMatch(name -> name.endsWith(A))) {
            throw new IllegalArgumentException("OrthogonalLora: what is trained has no " + A + ", so it is no LoRA");
        }
        for (int task = 0; task < earlier.size(); task++) {
            Map<String, Tensor> then = earlier.get(task);
            int number = task;
            if (now.keySet().stream().noneMatch(name -> name.endsWith(A) && then.containsKey(name))) {
                throw new IllegalArgumentException("OrthogonalLora: earlier task " + task
                        + " has no layer in common with this one; it has " + then.keySet());
            }
            now.forEach((name, a) -> {
                if (name.endsWith(A) && then.containsKey(name) && then.get(name).rowSize() != a.rowSize()) {
                    throw new IllegalArgumentException("OrthogonalLora: " + name + " " + a.shape()
                            + " does not fit that of earlier task " + number + ", "
                            + then.get(name).shape() + ": rows must be equally long");
                }
            });
        }
    }

    /** A of each layer from a folder of an earlier task's LoRA, by the name that the parameter has in the model. */
    public static Map<String, Tensor> read(Path folder) {
        Map<String, Tensor> all = new LinkedHashMap<>();
        try (Arena arena = Arena.ofShared()) {
            Path file = folder.resolve("adapter_model.safetensors");
            Safetensors.open(file, arena).tensors().forEach((key, t) -> {
                if (key.startsWith(PREFIX) && key.endsWith(A)) {
                    all.put(key.substring(PREFIX.length()), Fisher.copy(t));
                }
            });
            if (all.isEmpty()) {
                throw new IllegalArgumentException(file + ": there is no " + A + ", so it is no LoRA");
            }
        }
        return all;
    }

    /** The sum of all overlaps, not weighted: how far the tasks are from apart. */
    public Tensor overlaps() {
        Tensor sum = Tensor.zeros(1);
        for (Map<String, Tensor> task : earlier) {
            for (Map.Entry<String, Tensor> e : trained.parameters().entrySet()) {
                if (e.getKey().endsWith(A) && task.containsKey(e.getKey())) {
                    sum = Ops.add(sum, PenaltyOps.overlap(e.getValue(), task.get(e.getKey())));
                }
            }
        }
        return sum;
    }

    private Tensor norms() {
        Tensor sum = Tensor.zeros(1);
        for (Map.Entry<String, Tensor> e : trained.parameters().entrySet()) {
            if (e.getKey().endsWith(A) || e.getKey().endsWith(B)) {
                sum = Ops.add(sum, PenaltyOps.norm(e.getValue()));
            }
        }
        return sum;
    }

    @Override
    public Tensor term() {
        Tensor apart = Ops.scale(overlaps(), (float) overlap);
        return size == 0 ? apart : Ops.add(apart, Ops.scale(norms(), (float) size));
    }
}
