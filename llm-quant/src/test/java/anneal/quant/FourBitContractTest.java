package anneal.quant;

import java.util.List;

class FourBitContractTest extends WeightContract {
    @Override
    List<Case> cases() {
        return List.of(
                new Case(new Nf4(64), 0.0915),
                new Case(new Nf4(64, true), 0.0915),
                new Case(new Nf4(32), 0.085),
                new Case(new Nf4(4096), 0.12),
                new Case(new Fp4(64), 0.1165),
                new Case(new Fp4(128, true), 0.12));
    }
}
