package anneal.peft;

import anneal.nn.Module;

class LoraContractTest extends AdapterContract {
    @Override
    Adapters attach(Module root) {
        return Lora.rank(3).alpha(5).on(Targets.ALL_LINEAR).attach(root);
    }
}
