package anneal.peft;

import anneal.nn.Module;
import java.lang.foreign.Arena;

/** Tokens of an embedding that is the head too. */
class TiedTokensContractTest extends AdapterContract {
    @Override
    Adapters attach(Module root) {
        return TrainableTokens.of(5, 3, 1).attach(root);
    }

    @Override
    TinyModel model(Arena memory) {
        return new TinyModel(memory, 2, true);
    }
}
