package anneal.peft;

import anneal.io.JsonObject;
import java.util.Map;
import java.util.Set;

/** {@link Lisa} in a file, of a type that PEFT does not have. */
final class LisaFile extends AdapterFile<Lisa> {
    LisaFile() {
        super("LISA", Lisa.class, Set.of("lisa_blocks", "lisa_every"), Set.of(), Set.of());
    }

    @Override
    Lisa read(JsonObject o, String baseModel) {
        return new Lisa(o.integer("lisa_blocks"), o.integer("lisa_every"), baseModel);
    }

    @Override
    void write(Map<String, Object> o, Lisa lisa, Tuning tuning) {
        o.put("lisa_blocks", lisa.blocks());
        o.put("lisa_every", lisa.every());
    }
}
