package anneal.peft;

import anneal.nn.Module;

class BitFitContractTest extends AdapterContract {
    @Override
    Adapters attach(Module root) {
        return BitFit.everywhere().attach(root);
    }
}
