package anneal.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class MemoryTest {
    private static final long MB = 1 << 20;

    @AfterEach
    void letGo() {
        Memory.trim();
    }

    @Test
    void theTestsRunChecked() {
        Tensor x;
        try (Memory.Scope scope = Memory.scope()) {
            x = Tensor.empty(3);
            assertThat(x.get(0)).as("not yet written").isNaN();
            x.set(new float[] {1, 2, 3});
            assertThat(x.get(2)).isEqualTo(3);
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void usingATensorOfAClosedScopeIsAnError(boolean check) {
        Tensor x, trained;
        try (Memory.Scope scope = Memory.scope(check)) {
            x = Tensor.empty(3);
            trained = Tensor.empty(3);
            trained.grad();
        }
        List<ThrowingCallable> uses =
                List.of(() -> x.get(0), x::toArray, () -> Ops.scale(x, 2f), x::gradBuf, trained::gradBuf);
        for (ThrowingCallable use : uses) {
            assertThatIllegalStateException().isThrownBy(use).withMessage("Memory: this tensor's scope is closed");
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void scopesNest(boolean check) {
        try (Memory.Scope outer = Memory.scope(check)) {
            Tensor before = Tensor.of(new float[] {1}, 1);
            Tensor lost;
            try (Memory.Scope inner = Memory.scope(check)) {
                lost = Tensor.of(new float[] {2}, 1);
                assertThat(inner.bytes()).isPositive();
                // A gradient lies where its tensor does, not in the innermost scope.
                before.grad().set(new float[] {5});
            }
            Tensor after = Tensor.of(new float[] {3}, 1);
            assertThat(before.get(0)).isEqualTo(1);
            assertThat(before.grad().get(0)).isEqualTo(5);
            assertThat(after.get(0)).isEqualTo(3);
            if (check) {
                assertThatThrownBy(lost::item).isInstanceOf(IllegalStateException.class);
            }
        }
    }

    @Test
    void closingInTheWrongOrderOrTwiceIsAnError() {
        String message = "Memory: scopes must be closed once, in reverse order, on the thread that opened them";
        Memory.Scope outer = Memory.scope(), inner = Memory.scope();
        assertThatThrownBy(outer::close)
                .isInstanceOf(IllegalStateException.class)
                .hasMessage(message);
        inner.close();
        outer.close();
        assertThatThrownBy(outer::close)
                .isInstanceOf(IllegalStateException.class)
                .hasMessage(message);
    }

    @Test
    void closingOnAnotherThreadIsAnError() throws Exception {
        List<Throwable> thrown = new ArrayList<>();
        try (Memory.Scope scope = Memory.scope()) {
            Thread thread = new Thread(scope::close);
            thread.setUncaughtExceptionHandler((t, e) -> thrown.add(e));
            thread.start();
            thread.join();
        }
        assertThat(thrown).singleElement().isInstanceOf(IllegalStateException.class);
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void everythingIsAlignedAndApart(boolean check) {
        Rng rng = new Rng(1);
        try (Memory.Scope scope = Memory.scope(check)) {
            List<Tensor> all = new ArrayList<>();
            for (int i = 0; i < 500; i++) {
                Tensor x = Tensor.empty(rng.nextInt(3000));
                assertThat(x.buf().address() % 64).isZero();
                for (long k = 0; k < x.size(); k++) {
                    x.buf().setAtIndex(java.lang.foreign.ValueLayout.JAVA_FLOAT, k, i);
                }
                all.add(x);
            }
            for (int i = 0; i < all.size(); i++) {
                for (float v : all.get(i).toArray()) {
                    assertThat(v).isEqualTo(i);
                }
            }
        }
    }

    @Test
    void whatIsOutsideAnyScopeLivesOn() {
        Tensor x = Tensor.of(new float[] {7}, 1);
        assertThat(x.buf().address() % 64).isZero();
        try (Memory.Scope scope = Memory.scope()) {
            x.grad().set(new float[] {1});
        }
        assertThat(x.get(0) + x.grad().get(0)).isEqualTo(8);
        x.release();
        assertThat(x.get(0)).as("nothing to give back to").isEqualTo(7);
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void memoryGivenBackServesTheNextOfEqualSize(boolean check) {
        try (Memory.Scope scope = Memory.scope(check)) {
            Tensor a = Tensor.empty(1000);
            long address = a.buf().address(), bytes = scope.bytes();
            a.release();
            Tensor other = Tensor.empty(999), same = Tensor.empty(10, 100), further = Tensor.empty(1000);
            assertThat(same.buf().address()).isEqualTo(address);
            assertThat(further.buf().address()).isNotEqualTo(address);
            assertThat(other.buf().address()).isNotEqualTo(address);
            assertThat(scope.bytes()).isGreaterThanOrEqualTo(bytes);
        }
    }

    @Test
    void readingOrGivingBackWhatWasGivenBackIsAnError() {
        String message = "the numbers of [10] were given back to memory: nobody was to read them any more";
        try (Memory.Scope scope = Memory.scope()) {
            Tensor a = Tensor.empty(10), view = a.view(2, 5);
            a.release();
            assertThatIllegalStateException().isThrownBy(a::release).withMessage(message);
            assertThatIllegalStateException().isThrownBy(() -> a.get(0)).withMessage(message);
            assertThatIllegalStateException().isThrownBy(view::toArray).withMessage(message.replace("10", "2, 5"));
        }
    }

    @Test
    void aStepOfTheSameShapesAllocatesNothingNew() {
        Set<Long> first = step(100_000, 60), second = step(100_000, 60);
        assertThat(second).isEqualTo(first);
    }

    private static Set<Long> step(int size, int tensors) {
        Set<Long> addresses = new HashSet<>();
        try (Memory.Scope scope = Memory.scope(false)) {
            for (int i = 0; i < tensors; i++) {
                addresses.add(Tensor.empty(size).buf().address());
            }
        }
        return addresses;
    }

    @Test
    void aLargeTensorDoesNotMakeTheRestOfASlabUseless() {
        int large = (int) (10 * MB);
        try (Memory.Scope scope = Memory.scope(false)) {
            for (int i = 0; i < 4; i++) {
                Tensor.empty(large);
                Tensor.empty(1000);
            }
            // 4 x 40 MB in blocks of 64 MB, whose rests hold the small ones.
            assertThat(scope.bytes()).isEqualTo(4 * 64 * MB);
        }
    }

    @Test
    void largeAllocationsWork() {
        try (Memory.Scope scope = Memory.scope(false)) {
            Tensor x = Tensor.empty(150_000_000);
            long last = x.size() - 1;
            x.buf().setAtIndex(java.lang.foreign.ValueLayout.JAVA_FLOAT, last, 3f);
            assertThat(x.get(last)).isEqualTo(3f);
        }
    }

    @Test
    void whatLiesUnusedNeverExceedsWhatWasOnceInUse() {
        long peak = 0;
        // Ever longer batches: no block of one step fits the next one's largest tensor.
        for (int size = 9; size <= 24; size++) {
            try (Memory.Scope scope = Memory.scope(false)) {
                Tensor.empty((int) (size * MB));
                Tensor.empty((int) (size * MB / 2));
                peak = Math.max(peak, scope.bytes());
            }
            assertThat(Memory.kept()).isBetween(1L, peak);
        }
        Memory.trim();
        assertThat(Memory.kept()).isZero();
    }

    @Test
    void trimLeavesOpenScopesAlone() {
        try (Memory.Scope scope = Memory.scope(false)) {
            Tensor x = Tensor.of(new float[] {4}, 1);
            Memory.trim();
            assertThat(x.item()).isEqualTo(4);
        }
        assertThat(Memory.kept()).isEqualTo(32 * MB);
    }

    @Test
    void aTensorOfNoElementsHasMemory() {
        try (Memory.Scope scope = Memory.scope()) {
            Tensor x = Tensor.zeros(0, 5);
            assertThat(x.size()).isZero();
            assertThat(x.rowCount()).isZero();
            assertThat(x.toArray()).isEmpty();
            assertThat(Tensor.empty(3, 0).rowCount()).isEqualTo(3);
        }
    }
}
