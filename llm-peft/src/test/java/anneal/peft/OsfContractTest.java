package anneal.peft;

import anneal.nn.Module;

class OsfContractTest extends AdapterContract {
    @Override
    Adapters attach(Module root) {
        return Osf.part(0.5)
                .directions("layers\\.1.*q_proj", 9)
                .on("q_proj", "v_proj", "up_proj", "down_proj")
                .attach(root);
    }

    /** Singular vectors get a part of the derivative alone; see {@link OsfTest}. */
    @Override
    boolean isDerivative(String parameter) {
        return parameter.endsWith("S_low");
    }
}
