package anneal.peft;

import anneal.nn.Module;

/** Every option that leaves a fresh adapter an identity. */
class LoraPatternsContractTest extends AdapterContract {
    @Override
    Adapters attach(Module root) {
        return Lora.rank(2)
                .alpha(3)
                .dropout(0.5)
                .bias(Bias.TARGETS)
                .on("q_proj", "up_proj", "model.layers.1.mlp.down_proj", "lm_head")
                .rankOf("model.layers.0.self_attn.q_proj", 5)
                .alphaOf("up_proj", 7.5)
                .rsLora()
                .init(Lora.Init.GAUSSIAN)
                .baseModel("tiny")
                .attach(root, 3);
    }

    @Override
    boolean biasesStay() {
        return true;
    }
}
