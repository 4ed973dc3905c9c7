package anneal.peft;

import java.util.List;

/**
 * Collects what methods have besides that train whole modules too: PEFT's modules_to_save.
 *
 * @param <B> the builder itself
 */
public abstract class SavingBuilder<B extends SavingBuilder<B>> extends MethodBuilder<B> {
    private List<String> saved = List.of();

    SavingBuilder() {}

    /** Linear layers and embeddings that are trained and saved whole, by name. */
    public final B save(String... names) {
        saved = List.of(names);
        return self();
    }

    final List<String> modulesToSave() {
        return saved;
    }
}
