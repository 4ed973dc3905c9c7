package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.nn.Module;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Tape;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;

/** The contract for what LoRA can be told beside rank and place. */
class LoraVariantContractsTest {
    private static Lora.Builder lora(LoraInit init) {
        return Lora.rank(3).alpha(5).init(init).on(Targets.ALL_LINEAR);
    }

    @Nested
    class Dora extends AdapterContract {
        @Override
        Adapters attach(Module root) {
            return lora(Lora.Init.KAIMING).dora().dropout(0.3).attach(root);
        }

        @Override
        boolean isDerivative(String parameter) {
            return parameter.endsWith("magnitude_vector"); // the norm counts as constant
        }
    }

    @Nested
    class WholeHead extends AdapterContract {
        @Override
        Adapters attach(Module root) {
            return Lora.rank(2).on("q_proj").save("lm_head", "1.mlp.up_proj").attach(root);
        }
    }

    /** Adapters that give their layers another matrix can be saved as an addition to the model as it was. */
    abstract static class Exchanging extends AdapterContract {
        @Override
        boolean changesBase() {
            return true;
        }

        @Test
        void asAPlainLoraItIsTheSame() {
            Adapters adapters = attach(model);
            disturb(adapters);
            adapters.saveAsPlainLora(dir);
            TinyModel other = another();
            Adapters plain = Adapters.load(other, dir);
            assertThat(((Lora) plain.method()).init()).isEqualTo(Lora.Init.KAIMING);
            assertThat(((Lora) plain.method()).rank()).isEqualTo(6);
            assertClose(logits(other), logits(model), 2e-5);
            assertThatThrownBy(() -> plain.saveAsPlainLora(dir))
                    .hasMessage("saveAsPlainLora: this adapter is one already; call save");
        }
    }

    @Nested
    class Pissa extends Exchanging {
        @Override
        Adapters attach(Module root) {
            return lora(new LoraInit.Pissa()).attach(root);
        }
    }

    @Nested
    class PissaByPowers extends Exchanging {
        @Override
        Adapters attach(Module root) {
            return lora(new LoraInit.Pissa(2)).rsLora().alphaOf("q_proj", 2).attach(root);
        }
    }

    @Nested
    class Olora extends Exchanging {
        @Override
        Adapters attach(Module root) {
            return lora(new LoraInit.Olora()).attach(root);
        }
    }

    @Nested
    class LoraGa extends Exchanging {
        @Override
        Adapters attach(Module root) {
            return lora(new LoraInit.LoraGa()).attach(root, 0, () -> {
                try (var _ = Memory.scope()) {
                    Tape.backward(Ops.sum(Ops.logSoftmax(((TinyModel) root).forward())));
                }
            });
        }

        @Override
        @Test
        void savedIsLoadedBitForBit() {
            Adapters adapters = attach(model);
            assertThatThrownBy(() -> adapters.save(dir))
                    .hasMessage(
                            "save: lora_ga changed the base by a gradient that no file holds, so the adapter could not be"
                                    + " loaded; call saveAsPlainLora");
        }
    }

    @Nested
    class Eva extends AdapterContract {
        @Override
        Adapters attach(Module root) {
            return lora(new LoraInit.Eva()).attach(root, 0, () -> logits((TinyModel) root));
        }
    }
}
