package anneal.peft;

import anneal.io.JsonObject;
import java.util.Map;
import java.util.Set;

/** {@link BitFit} in a file, of a type that PEFT does not have. */
final class BitFitFile extends AdapterFile<BitFit> {
    BitFitFile() {
        super("BITFIT", BitFit.class, TARGETS, Set.of(), Set.of());
    }

    @Override
    BitFit read(JsonObject o, String baseModel) {
        return new BitFit(targets(o), baseModel);
    }

    @Override
    void write(Map<String, Object> o, BitFit bitFit, Tuning tuning) {
        put(o, bitFit.targets() == null ? Targets.exactly(tuning.paths()) : bitFit.targets(), tuning);
    }
}
