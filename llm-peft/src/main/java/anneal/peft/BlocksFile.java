package anneal.peft;

import anneal.io.JsonObject;
import java.util.Map;
import java.util.Set;

/** Methods that train some of the blocks, in files of types that PEFT does not have: how many blocks, and one thing more. */
abstract class BlocksFile<M extends Method> extends AdapterFile<M> {
    final String blocks, more;

    private BlocksFile(String type, Class<M> method, String blocks, String more) {
        super(type, method, Set.of(blocks, more), Set.of(), Set.of());
        this.blocks = blocks;
        this.more = more;
    }

    /** {@link LastLayers}. */
    static final class Last extends BlocksFile<LastLayers> {
        Last() {
            super("LAST_LAYERS", LastLayers.class, "last_layers", "train_head");
        }

        @Override
        LastLayers read(JsonObject o, String baseModel) {
            return new LastLayers(o.integer(blocks), o.flag(more), baseModel);
        }

        @Override
        void write(Map<String, Object> o, LastLayers last, Tuning tuning) {
            o.put(blocks, last.count());
            o.put(more, last.head());
        }
    }

    /** {@link Lisa}. */
    static final class Drawn extends BlocksFile<Lisa> {
        Drawn() {
            super("LISA", Lisa.class, "lisa_blocks", "lisa_every");
        }

        @Override
        Lisa read(JsonObject o, String baseModel) {
            return new Lisa(o.integer(blocks), o.integer(more), baseModel);
        }

        @Override
        void write(Map<String, Object> o, Lisa lisa, Tuning tuning) {
            o.put(blocks, lisa.blocks());
            o.put(more, lisa.every());
        }
    }
}
