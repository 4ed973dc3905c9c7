package anneal.kernels.emit;

import java.util.ArrayList;
import java.util.List;

/** A place in the code that jumps name before or after it is known. */
final class Label {
    /** Offset in the code; -1 = not bound yet. */
    int at = -1;

    /** Where the four bytes of a distance to here stand that must be filled in. */
    final List<Integer> waiting = new ArrayList<>();
}
