package anneal.peft;

import anneal.nn.Module;

class LisaContractTest extends AdapterContract {
    @Override
    Adapters attach(Module root) {
        return Lisa.of(1, 2).attach(root);
    }
}
