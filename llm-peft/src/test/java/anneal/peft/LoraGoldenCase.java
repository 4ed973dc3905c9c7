package anneal.peft;

import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.io.Safetensors;
import anneal.io.StoredTensor;
import anneal.model.Decoder;
import anneal.nn.Linear;
import anneal.nn.Weight;
import anneal.tensor.Ops;
import anneal.tensor.RoundOps;
import anneal.tensor.Tensor;
import anneal.train.ParameterGroup;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** LoRA and its variants: initialisations may give the layers another matrix, which is recorded, and LoRA+ has no files. */
final class LoraGoldenCase extends PeftGoldenTest.Case {
    LoraGoldenCase(Path folder, Arena arena) {
        super(folder, arena);
    }

    @Override
    void check() throws IOException {
        if (!Files.exists(folder.resolve("adapter_config.json"))) {
            trainWithoutFiles();
            return;
        }
        compareResiduals();
        super.check();
    }

    @Override
    Adapters fresh(Decoder model) throws IOException {
        return load(model, "init");
    }

    @Override
    Adapters last(Decoder model) throws IOException {
        return load(model, "");
    }

    @Override
    Map<String, StoredTensor> file() {
        return Files.exists(folder.resolve("adapter_model.safetensors")) ? super.file() : Map.of();
    }

    /** A part of the folder on the base that it is for. */
    private Adapters load(Decoder model, String part) throws IOException {
        Path from = folder.resolve(part);
        Map<String, Object> config =
                Json.read(from.resolve("adapter_config.json")).map();
        if ("loftq".equals(config.get("init_lora_weights"))) { // on the recorded base, with nothing to derive
            insertResiduals(model);
            Path plain = Files.createDirectories(PeftGoldenTest.temp.resolve(folder.getFileName() + "-plain-" + part));
            Map<String, Object> o = new TreeMap<>(config);
            o.put("init_lora_weights", true);
            Json.write(plain.resolve("adapter_config.json"), o);
            Files.copy(
                    from.resolve("adapter_model.safetensors"),
                    plain.resolve("adapter_model.safetensors"),
                    StandardCopyOption.REPLACE_EXISTING);
            from = plain;
        }
        return Adapters.load(model, from);
    }

    /** What the layers get where an initialisation gives them another matrix. */
    private void compareResiduals() {
        Decoder model = base();
        float[] plain = logits(model);
        Adapters adapters = Adapters.load(model, folder.resolve("init"));
        boolean misread = ((Lora) adapters.method()).init() instanceof LoraInit.LoftQ(int bits, int _) && bits == 4;
        residuals().forEach((path, golden) -> {
            Linear linear = model.find(Linear.class).get(path);
            if (misread) {
                compareMisreadBlocks(adapters, path, golden);
            } else {
                close(
                        "base of " + path,
                        linear.weight().parameter().orElseThrow().toArray(),
                        golden.floats(),
                        2e-6);
            }
        });
        try (var _ = adapters.disabled()) {
            close("disabled is the model as it was", logits(model), plain, 0);
        }
        adapters.detach();
        if (!residuals().isEmpty()) { // in PEFT the other matrix stays where an adapter is disabled
            insertResiduals(model);
            compareLogits("logits.disabled", model, 5e-5);
        }
    }

    /**
     * bitsandbytes' CPU path takes the scale of a number as row * (columns / 64) + column / 64, which is another block's unless rows
     * are whole blocks. Read in this way LoftQ gives what is recorded; ours reads each block by its own scale.
     */
    private void compareMisreadBlocks(Adapters adapters, String path, StoredTensor golden) {
        Lora lora = (Lora) adapters.method();
        LoraInit.LoftQ q = (LoraInit.LoftQ) lora.init();
        Tensor w = base().find(Linear.class)
                .get(path)
                .weight()
                .dense(arena)
                .parameter()
                .orElseThrow();
        LoraStart start = LoraStart.loftQ(w, lora.rank(path), LoraGoldenCase::misreadNf4, q.iterations());
        close("misread base of " + path, start.base().toArray(), golden.floats(), 2e-6);
        Map<String, StoredTensor> init = Safetensors.open(
                        folder.resolve("init").resolve("adapter_model.safetensors"), arena)
                .tensors();
        Tensor a = tensor(init.get("base_model.model." + path + ".lora_A.weight"));
        Tensor b = tensor(init.get("base_model.model." + path + ".lora_B.weight"));
        close(
                "B A of " + path,
                Ops.matmul(start.b(), start.a()).toArray(),
                Ops.matmul(b, a).toArray(),
                1e-5);
    }

    private static Tensor tensor(StoredTensor t) {
        return Tensor.of(t.floats(), (int) t.shape()[0], (int) t.shape()[1]);
    }

    private static Tensor misreadNf4(Tensor w) {
        float[] x = w.toArray();
        int columns = w.dim(1), block = LoraStart.NF4_BLOCK;
        float[] largest = new float[(x.length + block - 1) / block];
        for (int i = 0; i < x.length; i++) {
            largest[i / block] = Math.max(largest[i / block], Math.abs(x[i]));
        }
        for (int i = 0; i < x.length; i++) {
            int scale = i / columns * (columns / block) + i % columns / block;
            x[i] = RoundOps.nearestNf4(x[i] / largest[i / block]) * largest[scale];
        }
        return Tensor.of(x, w.dim(0), columns);
    }

    @Override
    Map<String, StoredTensor> residuals() {
        Map<String, StoredTensor> all = new TreeMap<>();
        golden.forEach((key, t) -> {
            if (key.startsWith("base_residual.")) {
                all.put(key.replaceAll("^base_residual\\.|\\.weight$", ""), t);
            }
        });
        return all;
    }

    private void insertResiduals(Decoder model) {
        Map<String, Linear> linears = model.find(Linear.class);
        residuals().forEach((path, t) -> {
            Weight dense = linears.get(path).weight().dense(arena);
            dense.parameter().orElseThrow().set(t.floats());
            linears.get(path).weight(dense);
        });
    }

    /** LoRA+: only tensors and losses are recorded; rank and alpha are those of the folder "lora". */
    private void trainWithoutFiles() {
        JsonObject lora = Json.read(folder.resolveSibling("lora").resolve("adapter_config.json"));
        String[] names = golden.keySet().stream()
                .filter(k -> k.startsWith("init."))
                .map(k -> k.replaceAll("^init\\.base_model\\.model\\.|\\.lora_(embedding_)?[AB](\\.weight)?$", ""))
                .distinct()
                .toArray(String[]::new);
        Decoder model = base();
        Adapters adapters = Lora.rank(lora.integer("r"))
                .alpha(lora.number("lora_alpha"))
                .on(names)
                .attach(model);
        adapters.parameters()
                .forEach((name, p) ->
                        p.set(golden.get("init.base_model.model." + name).floats()));
        train(model, adapters);
    }

    @Override
    List<ParameterGroup> groups(JsonObject optimizer, Adapters adapters) {
        if (!optimizer.has("loraplus_lr_ratio")) {
            return List.of();
        }
        double embedding = optimizer.number("loraplus_lr_embedding") / optimizer.number("lr");
        return new LoraPlus(optimizer.number("loraplus_lr_ratio"), embedding)
                .groups(adapters).stream()
                        .map(g -> new ParameterGroup(g.pattern(), g.rateFactor(), g.decay()))
                        .toList();
    }
}
