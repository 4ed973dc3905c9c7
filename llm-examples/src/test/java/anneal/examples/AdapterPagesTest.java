package anneal.examples;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.Pretrained;
import anneal.TinyModel;
import anneal.model.DecoderConfig;
import anneal.model.Family;
import anneal.model.Tokens;
import anneal.peft.Adapters;
import anneal.peft.BitFit;
import anneal.peft.Ia3;
import anneal.peft.LastLayers;
import anneal.peft.Lisa;
import anneal.peft.LnTuning;
import anneal.peft.LoHa;
import anneal.peft.LoKr;
import anneal.peft.TrainableTokens;
import anneal.peft.Vera;
import anneal.tensor.Memory;
import anneal.tensor.NllOptions;
import anneal.tensor.Ops;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import anneal.train.AdamW;
import anneal.train.Optimizer;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The snippets of the page on adapters: each learns a line by heart a little, at the rate that its method names. */
class AdapterPagesTest {
    private static final int[] IDS = {5, 9, 0, 7, 1, 5, 2, 8};
    private static final int[] TARGETS = {9, 0, 7, 1, 5, 2, 8, -1};

    private static void assertLearns(Pretrained lm, Adapters adapters, double rate) {
        double first = 0, last = 0;
        try (Optimizer optimizer = new Optimizer(adapters.parameters(), new AdamW(), List.of())) {
            for (int step = 0; step < 30; step++) {
                optimizer.zeroGrad();
                try (Memory.Scope scope = Memory.scope()) {
                    Tensor loss = Ops.sum(lm.model().nll(Tokens.of(IDS, 1, IDS.length), TARGETS, NllOptions.PLAIN));
                    Tape.backward(loss);
                    last = loss.item();
                }
                first = step == 0 ? last : first;
                optimizer.step(1.0 / 7, rate);
            }
        }
        assertThat(last).isLessThan(first - 0.01);
    }

    @Test
    void ia3() {
        try (Pretrained lm = TinyModel.create(7)) {
            Adapters adapters = Ia3.at("k_proj", "v_proj", "down_proj")
                    .feedForward("down_proj")
                    .attach(lm.model().root());
            assertLearns(lm, adapters, Ia3.LEARNING_RATE);
        }
    }

    @Test
    void vera() {
        try (Pretrained lm = TinyModel.create(7)) {
            Adapters adapters =
                    Vera.rank(256).on("q_proj", "v_proj").attach(lm.model().root());
            assertLearns(lm, adapters, Vera.LEARNING_RATE);
        }
    }

    @Test
    void loHa() {
        try (Pretrained lm = TinyModel.create(7)) {
            Adapters adapters = LoHa.rank(4)
                    .alpha(8)
                    .on("q_proj", "v_proj")
                    .attach(lm.model().root());
            assertLearns(lm, adapters, LoHa.LEARNING_RATE);
        }
    }

    @Test
    void loKr() {
        try (Pretrained lm = TinyModel.create(7)) {
            Adapters adapters =
                    LoKr.rank(8).on("q_proj", "v_proj").attach(lm.model().root());
            assertLearns(lm, adapters, LoKr.LEARNING_RATE);
        }
    }

    @Test
    void lnTuning() {
        try (Pretrained lm = TinyModel.create(7)) {
            Adapters adapters = LnTuning.everywhere().attach(lm.model().root());
            assertLearns(lm, adapters, LnTuning.LEARNING_RATE);
        }
    }

    @Test
    void bitFit() {
        DecoderConfig gpt2 = DecoderConfig.builder(Family.GPT2)
                .vocabSize(TinyModel.VOCABULARY)
                .hiddenSize(32)
                .feedForwardSize(64)
                .layers(2)
                .heads(4, 4, 8)
                .contextLength(TinyModel.CONTEXT)
                .build();
        try (Pretrained lm = Pretrained.create(gpt2, TinyModel.tokenizer(), 7)) {
            Adapters adapters = BitFit.everywhere().attach(lm.model().root());
            assertLearns(lm, adapters, BitFit.LEARNING_RATE);
        }
    }

    @Test
    void lastLayers() {
        try (Pretrained lm = TinyModel.create(7)) {
            Adapters adapters = LastLayers.of(1).attach(lm.model().root());
            assertLearns(lm, adapters, LastLayers.LEARNING_RATE);
        }
    }

    @Test
    void lisa() {
        try (Pretrained lm = TinyModel.create(7)) {
            Adapters adapters = Lisa.of(1, 10).attach(lm.model().root());
            adapters.begin(30);
            assertLearns(lm, adapters, Lisa.LEARNING_RATE);
        }
    }

    @Test
    void trainableTokens() {
        try (Pretrained lm = TinyModel.create(7)) {
            Adapters adapters = TrainableTokens.of(0, 1, 2).attach(lm.model().root());
            assertLearns(lm, adapters, TrainableTokens.LEARNING_RATE);
        }
    }
}
