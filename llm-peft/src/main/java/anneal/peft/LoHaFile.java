package anneal.peft;

import anneal.io.JsonObject;
import java.util.Map;
import java.util.Set;

/** {@link LoHa} in a file. */
final class LoHaFile extends LycorisFile<LoHa> {
    LoHaFile() {
        super("LOHA", LoHa.class, Set.of());
    }

    @Override
    LoHa read(JsonObject o, String baseModel) {
        return new LoHa(options(o), targets(o), !o.flag("init_weights", true), saved(o), baseModel);
    }

    @Override
    void write(Map<String, Object> o, LoHa loHa, Tuning tuning) {
        put(o, loHa.options(), loHa.targets(), tuning);
        o.put("init_weights", !loHa.random());
    }
}
