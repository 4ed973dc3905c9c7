package anneal.peft;

import anneal.io.JsonObject;
import java.util.Map;
import java.util.Set;

/** {@link LastLayers} in a file, of a type that PEFT does not have. */
final class LastLayersFile extends AdapterFile<LastLayers> {
    LastLayersFile() {
        super("LAST_LAYERS", LastLayers.class, Set.of("last_layers", "train_head"), Set.of(), Set.of());
    }

    @Override
    LastLayers read(JsonObject o, String baseModel) {
        return new LastLayers(o.integer("last_layers"), o.flag("train_head"), baseModel);
    }

    @Override
    void write(Map<String, Object> o, LastLayers last, Tuning tuning) {
        o.put("last_layers", last.count());
        o.put("train_head", last.head());
    }
}
