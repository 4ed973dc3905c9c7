package anneal.distill;

import anneal.model.Decoder;
import anneal.model.DecoderConfig;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.stream.IntStream;

/** Students made of a teacher's own blocks, and how much each block does: the start of a distillation, and the pruning of layers. */
public final class Student {
    private Student() {}

    /**
     * A copy of a model with some of its blocks; embedding, last norm and projection are the teacher's. Sanh et al., arXiv:1910.01108.
     * Every parameter can be trained; the model has fewer layers in its config.json and in its file.
     *
     * @param layers of the teacher that stay, from 0, ascending
     * @param arena where the copy lives
     */
    public static Decoder ofLayers(Decoder teacher, int[] layers, Arena arena) {
        Decoder student = some(teacher, layers, new Excerpt(teacher, layers, arena));
        student.unfreeze();
        return student;
    }

    /**
     * Some blocks of a model, whose matrices are not copied but are the teacher's in the storage that they have: what is to be written
     * and not trained. It lives no longer than the teacher.
     *
     * @param layers of the teacher that stay, from 0, ascending
     * @param arena where its vectors live
     */
    public static Decoder sharing(Decoder teacher, int[] layers, Arena arena) {
        return some(teacher, layers, new Excerpt(teacher, layers, arena).sharing());
    }

    private static Decoder some(Decoder teacher, int[] layers, Excerpt excerpt) {
        int all = teacher.config().layers();
        boolean ascending = IntStream.range(1, layers.length).allMatch(i -> layers[i - 1] < layers[i]);
        if (layers.length == 0 || !ascending || layers[0] < 0 || layers[layers.length - 1] >= all) {
            throw new IllegalArgumentException("student: layers " + Arrays.toString(layers) + " must be some of 0 .. "
                    + (all - 1) + ", ascending");
        }
        if (teacher.config().scaleByLayer() && layers[layers.length - 1] != layers.length - 1) {
            throw new IllegalArgumentException(
                    "student: scores of this model are scaled by the layer's number, so only its first layers can stay");
        }
        DecoderConfig config = teacher.config().withLayers(layers);
        return new Decoder(config, excerpt);
    }

    /** Every second, third ... layer, so that {@code count} stay and the first is among them. */
    public static int[] spread(int layers, int count) {
        if (count < 1 || count > layers) {
            throw new IllegalArgumentException("student: " + count + " layers of " + layers + " cannot stay");
        }
        return IntStream.range(0, count)
                .map(i -> (int) ((long) i * layers / count))
                .toArray();
    }

    /** The {@code count} most important layers, or what else has a number here, ascending. */
    public static int[] mostImportant(double[] importance, int count) {
        if (count < 1 || count > importance.length) {
            throw new IllegalArgumentException("student: " + count + " of " + importance.length + " cannot stay");
        }
        return IntStream.range(0, importance.length)
                .boxed()
                .sorted((a, b) -> Double.compare(importance[b], importance[a]))
                .limit(count)
                .sorted()
                .mapToInt(i -> i)
                .toArray();
    }

    /**
     * How much each block changes what passes through it: the mean over tokens of 1 - cos(input, output), the block influence of Men
     * et al., arXiv:2403.03853. A block near 0 can go.
     *
     * @param run computes the model's output of some text
     */
    public static double[] blockInfluence(Decoder model, Runnable run) {
        int layers = model.config().layers();
        double[] sums = new double[layers];
        long[] tokens = new long[layers];
        Tensor[] input = new Tensor[1];
        var before = IntStream.range(0, layers)
                .mapToObj(i -> model.attention(i).before())
                .toList();
        var after = IntStream.range(0, layers)
                .mapToObj(i -> model.feedForward(i).after())
                .toList();
        for (int i = 0; i < layers; i++) {
            int layer = i;
            model.attention(i).before((output, stream) -> {
                input[0] = stream;
                return before.get(layer).apply(output, stream);
            });
            model.feedForward(i).after((output, stream) -> {
                Tensor y = after.get(layer).apply(output, stream);
                sums[layer] += sumOfChanges(input[0], y);
                tokens[layer] += y.rowCount();
                return y;
            });
        }
        try (Tape.Pause pause = Tape.pause()) {
            run.run();
        } finally {
            for (int i = 0; i < layers; i++) {
                model.attention(i).before(before.get(i));
                model.feedForward(i).after(after.get(i));
            }
        }
        return IntStream.range(0, layers)
                .mapToDouble(i -> sums[i] / Math.max(1, tokens[i]))
                .toArray();
    }

    private static double sumOfChanges(Tensor x, Tensor y) {
        int dim = x.rowSize();
        double sum = 0;
        for (long at = 0; at < x.size(); at += dim) {
            double xy = 0, xx = 0, yy = 0;
            for (long i = at; i < at + dim; i++) {
                double a = x.get(i), b = y.get(i);
                xy += a * b;
                xx += a * a;
                yy += b * b;
            }
            sum += 1 - xy / Math.max(Math.sqrt(xx * yy), Double.MIN_NORMAL);
        }
        return sum;
    }
}
