package anneal.peft;

import anneal.io.JsonObject;
import java.util.Map;
import java.util.Set;

/** {@link LoKr} in a file. */
final class LoKrFile extends LycorisFile<LoKr> {
    LoKrFile() {
        super("LOKR", LoKr.class, Set.of("decompose_both", "decompose_factor", "rank_dropout_scale"));
    }

    @Override
    LoKr read(JsonObject o, String baseModel) {
        return new LoKr(
                options(o),
                targets(o),
                o.flag("decompose_both", false),
                o.integer("decompose_factor", -1),
                o.flag("rank_dropout_scale", false),
                init(o),
                saved(o),
                baseModel);
    }

    private static LoKr.Init init(JsonObject o) {
        return switch (o.map().getOrDefault("init_weights", true)) {
            case Boolean on -> on ? LoKr.Init.FIRST_ZERO : LoKr.Init.RANDOM;
            case String s when s.equals("lycoris") -> LoKr.Init.SECOND_ZERO;
            case Object _ -> throw o.error("init_weights", "true, false or lycoris");
        };
    }

    @Override
    void write(Map<String, Object> o, LoKr loKr, Tuning tuning) {
        put(o, loKr.options(), loKr.targets(), tuning);
        o.put("decompose_both", loKr.decomposeBoth());
        o.put("decompose_factor", loKr.decomposeFactor());
        o.put("rank_dropout_scale", loKr.rankDropoutScale());
        o.put(
                "init_weights",
                switch (loKr.init()) {
                    case FIRST_ZERO -> true;
                    case SECOND_ZERO -> "lycoris";
                    case RANDOM -> false;
                });
    }
}
