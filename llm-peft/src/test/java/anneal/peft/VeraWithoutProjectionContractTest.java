package anneal.peft;

import anneal.nn.Module;

class VeraWithoutProjectionContractTest extends AdapterContract {
    @Override
    Adapters attach(Module root) {
        return Vera.rank(7)
                .projectionKey(4)
                .withoutProjection()
                .on("v_proj", "up_proj")
                .layers(0)
                .attach(root);
    }
}
