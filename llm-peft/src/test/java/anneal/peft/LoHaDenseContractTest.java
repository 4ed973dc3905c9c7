package anneal.peft;

import anneal.nn.Module;

/** Ranks whose square is too large for thin factors, with dropout. */
class LoHaDenseContractTest extends AdapterContract {
    @Override
    Adapters attach(Module root) {
        return LoHa.rank(5)
                .alpha(3)
                .rankOf("q_proj", 4)
                .alphaOf("v_proj", 9)
                .on("q_proj", "v_proj", "lm_head")
                .rankDropout(0.3)
                .moduleDropout(0.2)
                .baseModel("tiny")
                .attach(root, 3);
    }

    @Override
    boolean dropsModules() {
        return true;
    }
}
