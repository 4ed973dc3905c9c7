package anneal.quant;

import java.util.List;

class GgufBlocksContractTest extends WeightContract {
    @Override
    List<Case> cases() {
        return List.of(
                new Case(GgufBlocks.Q4_0, 0.09),
                new Case(GgufBlocks.Q4_1, 0.08),
                new Case(GgufBlocks.Q5_0, 0.045),
                new Case(GgufBlocks.Q5_1, 0.04),
                new Case(GgufBlocks.Q8_0, 0.0055),
                new Case(GgufBlocks.Q4_K, 0.075),
                new Case(GgufBlocks.Q5_K, 0.0375),
                new Case(GgufBlocks.Q6_K, 0.0185));
    }
}
