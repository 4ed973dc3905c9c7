package anneal.train;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

/** What the rules' constructors refuse; the contract of each rule is a class below. */
class UpdateRulesTest {
    @Test
    void refusesNumbersThatMakeNoSense() {
        assertThatThrownBy(() -> new AdamW(1, 0.999, 1e-8, 0))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("AdamW: beta1 1.0 must be in [0.0, 1.0)");
        assertThatThrownBy(() -> new AdamW(-0.1)).hasMessage("AdamW: weightDecay -0.1 must be in [0.0, infinity)");
        assertThatThrownBy(() -> new AdamW8bit(0.9, 0.999, -1, 0))
                .hasMessage("AdamW8bit: eps -1.0 must be in [0.0, infinity)");
        assertThatThrownBy(() -> new Sgd(0, 0, true, 0))
                .hasMessage("Sgd: nesterov needs momentum and no dampening, got momentum 0.0 and dampening 0.0");
        assertThatThrownBy(() -> new Adafactor(true, false, true, 1, -0.8, 0, 1e-30, 1e-3, 0))
                .hasMessage("Adafactor: warmupInit needs relativeStep");
        assertThatThrownBy(() -> new Lion(Double.NaN, 0.99, 0)).hasMessage("Lion: beta1 NaN must be in [0.0, 1.0)");
        assertThatThrownBy(() -> new Lion8bit(0.9, 1, 0)).hasMessage("Lion8bit: beta2 1.0 must be in [0.0, 1.0)");
    }
}

class AdamWRuleTest extends UpdateRuleContract {
    @Override
    UpdateRule rule() {
        return new AdamW(0);
    }

    @Override
    UpdateRule withDecay() {
        return new AdamW(0.1);
    }

    @Override
    double parabolaRate() {
        return 0.05;
    }

    @Override
    double rosenbrockRate() {
        return 0.01;
    }
}

class AdamW8bitRuleTest extends UpdateRuleContract {
    @Override
    UpdateRule rule() {
        return new AdamW8bit(0);
    }

    @Override
    UpdateRule withDecay() {
        return new AdamW8bit(0.1);
    }

    @Override
    double parabolaRate() {
        return 0.05;
    }

    @Override
    double rosenbrockRate() {
        return 0.01;
    }
}

class AdamRuleTest extends UpdateRuleContract {
    @Override
    UpdateRule rule() {
        return new Adam();
    }

    @Override
    UpdateRule withDecay() {
        return new Adam(0.9, 0.999, 1e-8, 0.1);
    }

    @Override
    double parabolaRate() {
        return 0.05;
    }

    @Override
    double rosenbrockRate() {
        return 0.01;
    }
}

class SgdRuleTest extends UpdateRuleContract {
    @Override
    UpdateRule rule() {
        return new Sgd();
    }

    @Override
    UpdateRule withDecay() {
        return new Sgd(0, 0, false, 0.1);
    }

    @Override
    double parabolaRate() {
        return 0.1;
    }

    @Override
    double rosenbrockRate() {
        return 1e-3;
    }
}

class NesterovRuleTest extends UpdateRuleContract {
    @Override
    UpdateRule rule() {
        return new Sgd(0.9, 0, true, 0);
    }

    @Override
    UpdateRule withDecay() {
        return new Sgd(0.9, 0, true, 0.1);
    }

    @Override
    double parabolaRate() {
        return 0.02;
    }

    @Override
    double rosenbrockRate() {
        return 2e-4;
    }
}

class LionRuleTest extends UpdateRuleContract {
    @Override
    UpdateRule rule() {
        return new Lion();
    }

    @Override
    UpdateRule withDecay() {
        return new Lion(0.9, 0.99, 0.1);
    }

    @Override
    double parabolaRate() {
        return 0.0125;
    }

    @Override
    double rosenbrockRate() {
        return 1.5e-3;
    }
}

class Lion8bitRuleTest extends UpdateRuleContract {
    @Override
    UpdateRule rule() {
        return new Lion8bit();
    }

    @Override
    UpdateRule withDecay() {
        return new Lion8bit(0.9, 0.99, 0.1);
    }

    @Override
    double parabolaRate() {
        return 0.0125;
    }

    @Override
    double rosenbrockRate() {
        return 1.5e-3;
    }
}

class AdafactorRuleTest extends UpdateRuleContract {
    @Override
    UpdateRule rule() {
        return Adafactor.withRate(false);
    }

    @Override
    UpdateRule withDecay() {
        return new Adafactor(false, false, false, 1, -0.8, 0, 1e-30, 1e-3, 0.1);
    }

    @Override
    double parabolaRate() {
        return 0.05;
    }

    @Override
    double rosenbrockRate() {
        return 0.01;
    }
}

class AdafactorWithMeanRuleTest extends UpdateRuleContract {
    @Override
    UpdateRule rule() {
        return new Adafactor(true, true, false, 1, -0.8, 0.9, 1e-30, 1e-3, 0);
    }

    @Override
    UpdateRule withDecay() {
        return new Adafactor(true, true, false, 1, -0.8, 0.9, 1e-30, 1e-3, 0.1);
    }

    @Override
    double parabolaRate() {
        return 5;
    }

    @Override
    double rosenbrockRate() {
        return 3;
    }
}
