package anneal.peft;

import anneal.io.JsonObject;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;

/** {@link TrainableTokens} in a file. */
final class TrainableTokensFile extends AdapterFile<TrainableTokens> {
    TrainableTokensFile() {
        super(
                "TRAINABLE_TOKENS",
                TrainableTokens.class,
                Set.of("token_indices", "target_modules", "init_weights"),
                Set.of(),
                Set.of());
    }

    @Override
    TrainableTokens read(JsonObject o, String baseModel) {
        return new TrainableTokens(
                Arrays.stream(o.integers("token_indices")).boxed().toList(),
                o.has("target_modules") ? targets(o) : null,
                !o.flag("init_weights", true),
                baseModel);
    }

    @Override
    void write(Map<String, Object> o, TrainableTokens tokens, Tuning tuning) {
        o.put("token_indices", tokens.tokens());
        Targets path = Targets.matching(tuning.paths().getFirst());
        put(o, tokens.targets() == null ? path : tokens.targets(), tuning, Set.of("target_modules"));
        o.put("init_weights", !tokens.random());
    }
}
