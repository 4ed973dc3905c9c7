package anneal.peft;

import anneal.io.JsonObject;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** {@link AdaLora} in a file. Ranks that are final stand in "rank_pattern": for each layer, which of the initial triplets are left. */
final class AdaLoraFile extends AdapterFile<AdaLora> {
    private static final Logger LOG = LoggerFactory.getLogger(AdaLoraFile.class);
    private static final String PATTERN = "rank_pattern", VALUES = ".lora_E";

    AdaLoraFile() {
        super("ADALORA", AdaLora.class, read(), with(LoraFile.NEUTRAL, "alpha_pattern", "use_dora"), tells());
    }

    private static Set<String> read() {
        return with(
                TARGETS,
                "init_r",
                "target_r",
                "lora_alpha",
                "lora_dropout",
                "bias",
                "tinit",
                "tfinal",
                "deltaT",
                "total_step",
                "beta1",
                "beta2",
                "orth_reg_weight",
                SAVE,
                PATTERN);
    }

    /** PEFT inherits "r" and "use_rslora" from LoRA and does not use them here; the file has the numbers that an init would give. */
    private static Set<String> tells() {
        return with(LoraFile.TELLS, "r", "use_rslora", "init_lora_weights", "loftq_config", "eva_config");
    }

    private static Set<String> with(Set<String> some, String... more) {
        Set<String> all = new HashSet<>(some);
        all.addAll(List.of(more));
        return all;
    }

    @Override
    AdaLora read(JsonObject o, String baseModel) {
        if (!o.string("bias", "none").equals("none")) {
            throw o.error("bias", "none");
        }
        int initial = o.has("init_r") ? o.integer("init_r") : 12;
        return new AdaLora(
                initial,
                Math.min(initial, o.has("target_r") ? o.integer("target_r") : 8),
                o.number("lora_alpha"),
                o.number("lora_dropout", 0),
                targets(o),
                new RankBudget.Steps(
                        (long) o.number("tinit", 0), (long) o.number("tfinal", 0), (long) o.number("deltaT", 1), (long)
                                o.number("total_step", 0)),
                o.number("beta1", 0.85),
                o.number("beta2", 0.85),
                o.number("orth_reg_weight", 0.5),
                saved(o),
                baseModel,
                pattern(o));
    }

    private static Map<String, List<Boolean>> pattern(JsonObject o) {
        Map<String, List<Boolean>> kept = new LinkedHashMap<>();
        if (o.has(PATTERN)) {
            JsonObject p = o.object(PATTERN);
            for (String key : p.keys()) {
                List<Boolean> left = new ArrayList<>();
                for (Object one : p.list(key)) {
                    if (!(one instanceof Boolean b)) {
                        throw p.error(key, "a list of true and false");
                    }
                    left.add(b);
                }
                kept.put(key.endsWith(VALUES) ? key.substring(0, key.length() - VALUES.length()) : key, left);
            }
        }
        return kept;
    }

    @Override
    void write(Map<String, Object> o, AdaLora m, Tuning tuning) {
        AdaLoraTuning ada = (AdaLoraTuning) tuning;
        if (ada.trainedAlone()) {
            LOG.warn(
                    "save: singular values were trained, but no rank was ever chosen: give the trainer the Adapters, not"
                            + " their parameters");
        }
        put(o, m.targets(), tuning);
        o.put("init_r", m.initialRank());
        o.put("target_r", m.targetRank());
        o.put("lora_alpha", shortest(m.alpha()));
        o.put("lora_dropout", m.dropout());
        o.put("bias", "none");
        RankBudget.Steps budget = ada.budget();
        o.put("tinit", budget.tinit());
        o.put("tfinal", budget.tfinal());
        o.put("deltaT", budget.deltaT());
        o.put("total_step", budget.total());
        o.put("beta1", m.beta1());
        o.put("beta2", m.beta2());
        o.put("orth_reg_weight", m.orthogonality());
        Map<String, Object> pattern = new LinkedHashMap<>();
        if (ada.isFinal()) {
            ada.left().forEach((path, left) -> pattern.put(path + VALUES, left));
        }
        o.put(PATTERN, pattern.isEmpty() ? null : pattern);
        o.put("init_lora_weights", true);
        o.put("fan_in_fan_out", ada.transposed());
    }
}
