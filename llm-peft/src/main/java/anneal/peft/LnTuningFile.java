package anneal.peft;

import anneal.io.JsonObject;
import java.util.Map;
import java.util.Set;

/** {@link LnTuning} in a file. */
final class LnTuningFile extends AdapterFile<LnTuning> {
    private static final Set<String> TARGETS = Set.of("target_modules", "exclude_modules");

    LnTuningFile() {
        super("LN_TUNING", LnTuning.class, Set.of("target_modules", "exclude_modules", SAVE), Set.of(), Set.of());
    }

    @Override
    LnTuning read(JsonObject o, String baseModel) {
        return new LnTuning(targets(o), saved(o), baseModel);
    }

    @Override
    void write(Map<String, Object> o, LnTuning ln, Tuning tuning) {
        put(o, ln.targets() == null ? Targets.exactly(tuning.paths()) : ln.targets(), tuning, TARGETS);
    }
}
