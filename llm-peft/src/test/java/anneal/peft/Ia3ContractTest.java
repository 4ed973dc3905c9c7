package anneal.peft;

import anneal.nn.Module;

class Ia3ContractTest extends AdapterContract {
    @Override
    Adapters attach(Module root) {
        return Ia3.at("q_proj", "v_proj", "up_proj", "down_proj")
                .feedForward("down_proj", "up_proj")
                .attach(root);
    }
}
