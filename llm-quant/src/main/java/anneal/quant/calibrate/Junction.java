package anneal.quant.calibrate;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import anneal.nn.Attention;
import anneal.nn.FeedForward;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.nn.Norm;
import anneal.nn.SubLayer;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A tensor x between what makes it and the layers that read it: the place where channel scales s can change hands.
 *
 * <pre>
 * x / s comes out of the source, W diag(s) stands in every reader:   (x / s) (W diag(s))T = x WT
 * </pre>
 *
 * <p>The model computes what it computed before, within rounding. {@link #find} reads junctions off the types of anneal.nn and the
 * order of children, knowing no family and no name; for a model of another build the caller makes them by hand.
 *
 * @param name path of the first reader
 * @param source what makes x
 * @param readers the layers that read x, all of them: one that is left out would read x / s with its old weight
 */
public record Junction(String name, Source source, Map<String, Linear> readers) {
    /** What makes the channels of x. */
    public sealed interface Source {
        /** Number of channels that have a scale of their own. */
        int channels();

        /** The scale's index for channel j of x. */
        int channel(int j);

        /** Divides channel c by s[c]. */
        void divide(float[] s);
    }

    /** A norm: y = n * w (+ b) takes the scale into w (and b). */
    public record FromNorm(Norm norm) implements Source {
        @Override
        public int channels() {
            return Math.toIntExact(norm.weight().size());
        }

        @Override
        public int channel(int j) {
            return j;
        }

        @Override
        public void divide(float[] s) {
            divideBy(norm.weight(), 0, s);
            if (norm.own().bias() != null) {
                divideBy(norm.own().bias(), 0, s);
            }
        }
    }

    /**
     * Rows of a linear layer that reach the readers through linear steps only: values through attention, up through the gate.
     *
     * @param linear the layer
     * @param from its first row that does
     * @param channels how many rows do
     * @param block channels of x that are next to each other in a head; with grouped heads several heads of x come from one of the
     *     layer's
     * @param repeat heads of x that come from one head of the layer
     */
    public record FromRows(Linear linear, int from, int channels, int block, int repeat) implements Source {
        @Override
        public int channel(int j) {
            return j / (block * repeat) * block + j % block;
        }

        @Override
        public void divide(float[] s) {
            float[] inverse = new float[linear.out()];
            java.util.Arrays.fill(inverse, 1);
            for (int c = 0; c < channels; c++) {
                inverse[from + c] = 1 / s[c];
            }
            linear.weight(Scaling.rows(linear.weight().matrix(), inverse, Arena.ofAuto()));
            if (linear.bias() != null) {
                divideBy(linear.bias(), from, s);
            }
        }
    }

    public Junction {
        readers = java.util.Collections.unmodifiableMap(new LinkedHashMap<>(readers));
        if (readers.isEmpty()) {
            throw new IllegalArgumentException("Junction " + name + ": there must be a reader");
        }
    }

    private static void divideBy(Tensor x, int from, float[] s) {
        for (int c = 0; c < s.length; c++) {
            x.buf().setAtIndex(JAVA_FLOAT, from + c, x.get(from + c) / s[c]);
        }
    }

    /** Moves the scales: channel c of the source is divided by s[c], the readers' columns are multiplied by it. */
    public void fold(float[] s) {
        if (s.length != source.channels()) {
            throw new IllegalArgumentException(
                    "fold: " + s.length + " scales for " + source.channels() + " channels (at " + name + ")");
        }
        for (float v : s) {
            if (!(v > 0 && Float.isFinite(v))) {
                throw new IllegalArgumentException(
                        "fold: scale " + v + " must be a positive finite number (at " + name + ")");
            }
        }
        float[] columns = columns(s);
        source.divide(s);
        readers.values().forEach(l -> l.weight(Scaling.columns(l.weight().matrix(), columns, Arena.ofAuto())));
    }

    /** The scale of each channel of x from the scales of the source. */
    public float[] columns(float[] s) {
        float[] columns = new float[in()];
        for (int j = 0; j < columns.length; j++) {
            columns[j] = s[source.channel(j)];
        }
        return columns;
    }

    /** For each channel of the source the largest of {@code values} over the channels of x that come from it. */
    public float[] largest(float[] values) {
        float[] most = new float[source.channels()];
        for (int j = 0; j < values.length; j++) {
            int c = source.channel(j);
            most[c] = Math.max(most[c], values[j]);
        }
        return most;
    }

    /** Channels of x. */
    public int in() {
        return readers.values().iterator().next().in();
    }

    // ---------------------------------------------------------------- finding them

    /**
     * The junctions of a model of pre-norm blocks: a module whose children are norms, each followed by the {@link SubLayer} that reads
     * its output. The norm feeds every linear child of that sub-layer but the last, which closes it.
     *
     * @param inner also from values to the attention's output projection, and from up to down in a gated network; in a plain one
     *     the activation stands between, which no scale passes
     */
    public static List<Junction> find(Module root, boolean inner) {
        List<Junction> found = new ArrayList<>();
        root.walk((path, module) -> {
            Norm norm = null;
            for (Module child : module.children().values()) {
                if (child instanceof SubLayer s) {
                    List<Linear> linears = linears(s);
                    if (norm != null) {
                        found.add(junction(new FromNorm(norm), linears.subList(0, linears.size() - 1)));
                    }
                    if (inner) {
                        inside(s, linears, found);
                    }
                    norm = null;
                } else {
                    norm = child instanceof Norm n ? n : norm;
                }
            }
        });
        return found;
    }

    private static List<Linear> linears(SubLayer s) {
        return s.children().values().stream()
                .filter(Linear.class::isInstance)
                .map(Linear.class::cast)
                .toList();
    }

    private static void inside(SubLayer s, List<Linear> linears, List<Junction> found) {
        Linear last = linears.getLast();
        switch (s) {
            case Attention a -> {
                if (a.prefix() != null) {
                    throw new IllegalArgumentException("fold: " + a.path()
                            + " has a key/value prefix, whose values do not pass through the layer that is scaled");
                }
                Attention.Options o = a.options();
                int values = o.kvHeads() * o.headDim();
                Linear value = linears.get(linears.size() - 2); // of its own, or the last rows of the packed projection
                found.add(junction(
                        new FromRows(value, value.out() - values, values, o.headDim(), o.heads() / o.kvHeads()),
                        List.of(last)));
            }
            case FeedForward _ -> {
                if (linears.size() == 3) {
                    Linear up = linears.get(1);
                    found.add(junction(new FromRows(up, 0, up.out(), up.out(), 1), List.of(last)));
                }
            }
        }
    }

    private static Junction junction(Source source, List<Linear> readers) {
        Map<String, Linear> byPath = new LinkedHashMap<>();
        readers.forEach(l -> byPath.put(l.path(), l));
        Junction j = new Junction(readers.getFirst().path(), source, byPath);
        assert j.in() % source.channels() == 0 : j.in() + " channels from " + source.channels();
        return j;
    }
}
