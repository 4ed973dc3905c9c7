package anneal.quant.calibrate;

import anneal.io.Json;
import anneal.nn.Adapter;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.tensor.Memory;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Predicate;

/**
 * Measures the inputs of linear layers while the caller runs the model.
 *
 * <p>Each layer's adapter socket is wrapped for the time of the run, so the model needs to know nothing, and whatever adapter was
 * plugged in still acts. The tape is paused. Layers that read the same tensor (query, key and value; gate and up) share one
 * {@link LayerInputs}, taken once.
 *
 * <pre>
 * Calibration seen = Calibration.capture(model.root(), () -&gt; {
 *     for (int[] window : Windows.of(ids, 16, 256)) {
 *         try (var step = Memory.scope()) { model.hidden(Tokens.of(window), null); }
 *     }
 * });
 * </pre>
 */
public final class Calibration {
    /**
     * What is collected.
     *
     * @param moments whether second moments are: I x I numbers of 8 bytes a layer; GPTQ needs them
     * @param samples rows kept of each input: what scale searches and error reports are computed on
     * @param seed which rows are kept
     */
    public record Options(boolean moments, int samples, long seed) {
        /** Maxima, means and 256 rows. */
        public static final Options SAMPLES = new Options(false, 256, 0);

        /** The same and second moments. */
        public static final Options MOMENTS = new Options(true, 256, 0);

        public Options {
            if (samples < 0) {
                throw new IllegalArgumentException("calibration: samples " + samples + " must not be negative");
            }
        }
    }

    private final Map<String, LayerInputs> layers;

    private Calibration(Map<String, LayerInputs> layers) {
        this.layers = Collections.unmodifiableMap(layers);
    }

    /** Measures the layers of {@link Layers} with second moments. */
    public static Calibration capture(Module root, Runnable forward) {
        return capture(root, path -> true, Options.MOMENTS, forward);
    }

    /**
     * Measures some layers.
     *
     * @param which paths that are wanted
     * @param forward runs the model over the calibration text, with a {@link Memory#scope} of its own for each window
     * @throws IllegalArgumentException if a layer was not reached, or saw a number that is not finite
     */
    public static Calibration capture(Module root, Predicate<String> which, Options options, Runnable forward) {
        Map<String, Linear> linears = Layers.of(root, which);
        Run run = new Run(options);
        Map<String, Adapter> before = new LinkedHashMap<>();
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            linears.forEach((path, linear) -> {
                Adapter own = linear.adapter();
                before.put(path, own);
                linear.adapter((x, base) -> {
                    run.see(path, x);
                    return own.apply(x, base);
                });
            });
            forward.run();
        } finally {
            before.forEach((path, own) -> linears.get(path).adapter(own));
        }
        linears.keySet().forEach(path -> {
            if (!run.inputs.containsKey(path)) {
                throw new IllegalArgumentException(
                        "calibration: the forward pass never reached " + path + ": nothing is known of its input");
            }
        });
        return new Calibration(run.inputs);
    }

    /** One run: the tensor that was measured last, so that layers that read it too share its measurements. */
    private static final class Run {
        private final Options options;
        private final Map<String, LayerInputs> inputs = new LinkedHashMap<>();
        /** By path of a layer that reads the same tensor: who measures it. */
        private final Map<String, String> owners = new LinkedHashMap<>();

        private Tensor last;
        private String lastOwner;

        Run(Options options) {
            this.options = options;
        }

        void see(String path, Tensor x) {
            String owner = owners.computeIfAbsent(path, p -> x == last ? lastOwner : p);
            if (!owner.equals(path)) {
                if (x != last || !lastOwner.equals(owner)) {
                    throw new IllegalStateException("calibration: " + path + " read the same tensor as " + owner
                            + " in one pass and another one in the next");
                }
                inputs.putIfAbsent(path, inputs.get(owner));
                return;
            }
            inputs.computeIfAbsent(path, p -> new LayerInputs(x.rowSize(), options))
                    .add(x, path);
            last = x;
            lastOwner = path;
        }
    }

    /** Measurements by path of the layer. */
    public Map<String, LayerInputs> layers() {
        return layers;
    }

    /** Measurements of one layer; an unknown path names the nearest one. */
    public LayerInputs of(String path) {
        LayerInputs inputs = layers.get(path);
        if (inputs == null) {
            throw new IllegalArgumentException("calibration: there is no layer " + path
                    + Json.nearest(path, layers.keySet())
                            .map(n -> "; the nearest is " + n)
                            .orElse(""));
        }
        return inputs;
    }
}
