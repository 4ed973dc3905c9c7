package anneal.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Random;
import org.junit.jupiter.api.Test;

/** Both register tiles, also the one that this machine does not use. */
class VectorTileTest {
    @Test
    void tilesOfFiveAndTwelveRows() {
        Random random = new Random(1);
        for (int depth : new int[] {1, 2, 7, 64, VectorTile.DEPTH}) {
            float[] a = numbers(random, 3 + VectorTile.LEAD + 12 * VectorTile.STRIDE),
                    b = numbers(random, 5 + depth * VectorTile.COLS);
            for (int rows : new int[] {5, 12}) {
                float[] sums = new float[12 * VectorTile.COLS];
                if (rows == 5) {
                    VectorTile.multiply5(a, 3, b, 5, depth, sums, -1);
                } else {
                    VectorTile.multiply12(a, 3, b, 5, depth, sums);
                }
                for (int i = 0; i < rows * VectorTile.COLS; i++) {
                    double expected = 0;
                    for (int p = 0; p < depth; p++) {
                        int row = i / VectorTile.COLS, col = i % VectorTile.COLS;
                        expected += (double) a[3 + VectorTile.LEAD + row * VectorTile.STRIDE + p]
                                * b[5 + p * VectorTile.COLS + col];
                    }
                    assertThat((double) sums[i]).isCloseTo(expected, within(1e-6 * (1 + depth)));
                }
            }
        }
    }

    private static float[] numbers(Random random, int count) {
        float[] made = new float[count];
        for (int i = 0; i < count; i++) {
            made[i] = (float) random.nextGaussian();
        }
        return made;
    }
}
