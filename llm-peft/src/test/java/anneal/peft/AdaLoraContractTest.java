package anneal.peft;

import anneal.nn.Module;

class AdaLoraContractTest extends AdapterContract {
    @Override
    Adapters attach(Module root) {
        return AdaLora.rank(2)
                .from(5)
                .alpha(7)
                .dropout(0.3)
                .on(Targets.ALL_LINEAR)
                .attach(root, 2);
    }
}
