package anneal.peft;

import anneal.nn.Module;

/** Both matrices as products of thin ones, with dropout. */
class LoKrFactorsContractTest extends AdapterContract {
    @Override
    Adapters attach(Module root) {
        return LoKr.rank(1)
                .alpha(3)
                .decomposeBoth()
                .decomposeFactor(3)
                .init(LoKr.Init.SECOND_ZERO)
                .on("q_proj", "up_proj", "down_proj", "lm_head")
                .rankDropout(0.3)
                .rankDropoutScale()
                .moduleDropout(0.2)
                .attach(root, 3);
    }

    @Override
    boolean dropsModules() {
        return true;
    }
}
