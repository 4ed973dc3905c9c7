package anneal.quant;

import java.util.List;

class Int8ContractTest extends WeightContract {
    @Override
    List<Case> cases() {
        return List.of(new Case(new Int8(), 0.007));
    }

    /** x is rounded to bytes too. */
    @Override
    double tolerance() {
        return 0.01;
    }
}
