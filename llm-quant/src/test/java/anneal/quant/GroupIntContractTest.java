package anneal.quant;

import java.util.List;

class GroupIntContractTest extends WeightContract {
    @Override
    List<Case> cases() {
        return List.of(
                new Case(new GroupInt(4, 32, true), 0.098),
                new Case(new GroupInt(4, 128, false), 0.1),
                new Case(new GroupInt(3, 64, false), 0.19),
                new Case(new GroupInt(8, 64, true), 0.0055),
                new Case(new GroupInt(8, GroupInt.ROW, false), 0.007));
    }
}
