package anneal.peft;

import anneal.nn.Module;

class LnTuningContractTest extends AdapterContract {
    @Override
    Adapters attach(Module root) {
        return LnTuning.everywhere().attach(root);
    }
}
