package anneal.peft;

import anneal.nn.Module;

class LoKrContractTest extends AdapterContract {
    @Override
    Adapters attach(Module root) {
        return LoKr.rank(2).alpha(5).on(Targets.ALL_LINEAR).attach(root);
    }
}
