package anneal.peft;

import anneal.nn.Module;

class LastLayersContractTest extends AdapterContract {
    @Override
    Adapters attach(Module root) {
        return LastLayers.of(1).andHead().attach(root);
    }
}
