package anneal.kernels.emit;

import anneal.kernels.emit.Vec.Ymm;
import java.util.ArrayList;
import java.util.List;

/** Numbers that a function reads; they stand behind its last instruction, in memory that can be read and executed. */
final class Constants {
    private record Entry(Label place, int[] values) {}

    private final Assembler a;
    private final List<Entry> entries = new ArrayList<>();

    Constants(Assembler a) {
        this.a = a;
    }

    /** to = where the values stand, one after the other. */
    void address(Gp to, int... values) {
        Entry entry = new Entry(new Label(), values);
        entries.add(entry);
        a.lea(to, entry.place);
    }

    /** Eight lanes of to; RAX is lost. */
    void lanes(Ymm to, int... values) {
        address(Gp.RAX, values);
        a.ymm().vmovups(to, Mem.at(Gp.RAX));
    }

    /** Every lane of to = value; RAX is lost. */
    <V extends Vec> void broadcast(Vectors<V> v, V to, int value) {
        address(Gp.RAX, value);
        v.vpbroadcastd(to, Mem.at(Gp.RAX));
    }

    /** To be called behind the last instruction. */
    void end() {
        for (Entry entry : entries) {
            a.bind(entry.place);
            for (int value : entry.values) {
                a.put4(value);
            }
        }
    }
}
