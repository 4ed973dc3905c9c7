package anneal.peft;

import anneal.nn.Module;

class TrainableTokensContractTest extends AdapterContract {
    @Override
    Adapters attach(Module root) {
        return TrainableTokens.of(5, 3, 1).attach(root);
    }
}
