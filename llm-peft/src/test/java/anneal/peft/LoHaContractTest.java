package anneal.peft;

import anneal.nn.Module;

class LoHaContractTest extends AdapterContract {
    @Override
    Adapters attach(Module root) {
        return LoHa.rank(2).alpha(5).on(Targets.ALL_LINEAR).attach(root);
    }
}
