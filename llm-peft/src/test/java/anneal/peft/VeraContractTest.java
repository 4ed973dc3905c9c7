package anneal.peft;

import anneal.nn.Module;

class VeraContractTest extends AdapterContract {
    @Override
    Adapters attach(Module root) {
        return Vera.rank(7)
                .dropout(0.3)
                .dInitial(0.5)
                .projectionKey(3)
                .on(Targets.ALL_LINEAR)
                .attach(root);
    }
}
