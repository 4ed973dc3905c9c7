package anneal.peft;

import anneal.io.JsonObject;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/** {@link Osf} in a file. */
final class OsfFile extends AdapterFile<Osf> {
    private static final String KEPT = "effective_rank", PATTERN = "rank_pattern";

    /** PEFT has no more for choosing layers. */
    private static final Set<String> TARGET = Set.of("target_modules");

    OsfFile() {
        super(
                "OSF",
                Osf.class,
                Set.of(KEPT, PATTERN, "target_modules"),
                Set.of("modules_to_save"),
                // How a fresh one starts, and a key that PEFT ignores.
                Set.of("init_weights", "target_svd_config"));
    }

    @Override
    Osf read(JsonObject o, String baseModel) {
        Map<String, Osf.Kept> pattern = new LinkedHashMap<>();
        if (o.has(PATTERN)) {
            JsonObject p = o.object(PATTERN);
            p.keys().forEach(key -> pattern.put(key, kept(p, key)));
        }
        return new Osf(o.has(KEPT) ? kept(o, KEPT) : Osf.HALF, targets(o), pattern, baseModel);
    }

    /** 1 is one direction and 1.0 are all, as in PEFT. */
    private static Osf.Kept kept(JsonObject o, String key) {
        return o.get(key) instanceof Integer n ? new Osf.Kept(n, false) : fraction(o, key);
    }

    private static Osf.Kept fraction(JsonObject o, String key) {
        double x = o.number(key);
        return new Osf.Kept(x > 1 ? (int) x : x, x <= 1);
    }

    @Override
    void write(Map<String, Object> o, Osf osf, Tuning tuning) {
        put(o, osf.targets(), tuning, TARGET);
        o.put(KEPT, number(osf.kept()));
        Map<String, Object> pattern = new LinkedHashMap<>();
        osf.pattern().forEach((key, kept) -> pattern.put(key, number(kept)));
        o.put(PATTERN, pattern.isEmpty() ? null : pattern);
        o.put("init_weights", true);
        o.put("modules_to_save", null);
        o.put("target_svd_config", null);
    }

    private static Object number(Osf.Kept kept) {
        return kept.part() ? (Object) kept.amount() : (Object) (int) kept.amount();
    }
}
