package anneal.peft;

import static anneal.peft.PrefixTuningTest.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.ArenaFixture;
import anneal.io.Json;
import anneal.model.Decoder;
import anneal.model.Family;
import anneal.nn.DenseWeight;
import anneal.nn.Linear;
import anneal.tensor.Memory;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

/** Prompt tuning and P-tuning: options, files, what is refused. */
class PromptTuningTest extends ArenaFixture {
    private Decoder model() {
        return SocketContract.model(Family.LLAMA, arena);
    }

    private float[] logits(Method method) {
        Decoder model = model();
        method.attach(model, 5);
        return SocketContract.logits(model, 3, 7, 1);
    }

    private static PTuning.Builder lstm() {
        return PTuning.tokens(3).encoder(PTuning.Encoder.LSTM).hiddenSize(5);
    }

    @Test
    void everyOptionChangesSomething() {
        float[] prompt = logits(PromptTuning.tokens(3).build());
        assertThat(logits(PromptTuning.tokens(3).baseModel("x").build())).containsExactly(prompt);
        List<Method> prompts = List.of(
                PromptTuning.tokens(4).build(),
                PromptTuning.tokens(3).init(new PromptTuning.Init.Random()).build(),
                PromptTuning.tokens(3).text("t", "tok", 1, 2).build());
        prompts.forEach(p -> assertThat(logits(p)).as("%s", p).isNotEqualTo(prompt));
        float[] p = logits(lstm().build());
        List<Method> others = List.of(
                PTuning.tokens(4).encoder(PTuning.Encoder.LSTM).hiddenSize(5).build(),
                PTuning.tokens(3).hiddenSize(5).build(),
                lstm().hiddenSize(0).build(),
                lstm().layers(1).build());
        others.forEach(o -> assertThat(logits(o)).as("%s", o).isNotEqualTo(p));
        assertThat(logits(PTuning.tokens(3).build()))
                .isNotEqualTo(logits(PTuning.tokens(3).hiddenSize(5).build()));
        assertThat(logits(PrefixTuning.tokens(3).build()))
                .isNotEqualTo(logits(PrefixTuning.tokens(4).build()))
                .isNotEqualTo(logits(PrefixTuning.tokens(3).projection(6).build()))
                .isNotEqualTo(logits(
                        PrefixTuning.tokens(3).init(PrefixTuning.Init.RANDOM).build()));
    }

    @Test
    void dropoutActsInTrainingOnlyAndNotInWhatIsSaved() {
        Decoder model = model();
        Adapters adapters = lstm().dropout(0.5).attach(model, 5);
        float[] evaluated = SocketContract.logits(model, 3, 7, 1);
        assertThat(logits(lstm().build())).containsExactly(evaluated);
        try (var _ = Memory.scope()) {
            Tape.noise().restore(1);
            Tensor training = model.logits(anneal.model.Tokens.of(3, 7, 1));
            assertThat(training.toArray()).isNotEqualTo(evaluated);
        }
        Tape.clear();
        adapters.save(dir);
        Decoder other = model();
        Adapters.load(other, dir);
        AdapterContract.assertClose(SocketContract.logits(other, 3, 7, 1), evaluated, 1e-6);
    }

    @Test
    void whatCannotBeIsSaid() {
        refused(() -> PromptTuning.tokens(0).build(), "PromptTuning: 0 virtual tokens, must be at least 1");
        refused(() -> PTuning.tokens(-2).build(), "PTuning: -2 virtual tokens, must be at least 1");
        refused(
                () -> PTuning.tokens(2).hiddenSize(-1).build(),
                "PTuning: hidden size -1 must be positive, or 0 for the model's");
        refused(() -> lstm().layers(0).build(), "PTuning: 0 layers, must be at least 1");
        refused(() -> lstm().dropout(1).build(), "PTuning: dropout 1.0 must be in [0, 1)");
        refused(
                () -> lstm().layers(1).dropout(0.1).build(),
                "PTuning: dropout 0.1 acts between layers of the LSTM, and there is only one");
        refused(
                () -> PTuning.tokens(2).layers(3).build(),
                "PTuning: the MLP has a fixed depth and no dropout, so layers 3 and dropout 0.0 would change nothing;"
                        + " leave them out or take the LSTM");
        refused(
                () -> PromptTuning.tokens(2).attach(new Linear(new DenseWeight(Tensor.zeros(2, 2)), null)),
                "PromptTuning: the model has no input embedding to put vectors in front of");
        refused(
                () -> PromptTuning.tokens(2).text("text", "tok", 99).attach(model()),
                "embedding: id 99 is outside the table [19, 24]");
        Decoder model = model();
        PromptTuning.tokens(2).attach(model);
        refused(() -> PTuning.tokens(2).attach(model), "attach: model.embed_tokens already has trained vectors");
    }

    @Test
    void aFileWithoutTheTokensOfItsTextIsLoadedButStartsNothingNew() {
        PromptTuning.tokens(3).text("some text", "tok", 4, 9).attach(model()).save(dir);
        Adapters loaded = Adapters.load(model(), dir);
        assertThat(loaded.method())
                .isEqualTo(new PromptTuning(3, new PromptTuning.Init.Text("some text", "tok", List.of()), null));
        refused(
                () -> loaded.method().attach(model()),
                "PromptTuning: init from the text \"some text\" needs the ids of its tokens, which no file holds;"
                        + " encode it with tok and give them");
    }

    @Test
    void optionsThatWouldChangeTheNumbersAreRefused() {
        PTuning.tokens(3).hiddenSize(5).attach(model()).save(dir);
        change("num_transformer_submodules", 2);
        assertThatThrownBy(() -> Adapters.load(model(), dir))
                .hasMessageEndingWith("key \"num_transformer_submodules\" must be 1, a decoder but is 2");
        change("num_transformer_submodules", 1);
        change("encoder_reparameterization_type", "GRU");
        assertThatThrownBy(() -> Adapters.load(model(), dir))
                .hasMessageContaining("key \"encoder_reparameterization_type\" must be MLP or LSTM but is");
        change("encoder_reparameterization_type", "MLP");
        change("modules_to_save", List.of("lm_head"));
        assertThatThrownBy(() -> Adapters.load(model(), dir))
                .hasMessageEndingWith("not supported, and the numbers would differ without: modules_to_save");
        change("modules_to_save", null);
        change("encoder_num_layers", 7); // PEFT writes it for an MLP too, and ignores it
        assertThat(((PTuning) Adapters.load(model(), dir).method()).layers()).isEqualTo(2);
    }

    private void change(String key, Object value) {
        Path config = dir.resolve("adapter_config.json");
        Map<String, Object> o = new TreeMap<>(Json.read(config).map());
        o.put(key, value);
        Json.write(config, o);
    }
}
