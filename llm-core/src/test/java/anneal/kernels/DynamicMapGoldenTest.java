package anneal.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.Golden;
import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.io.Safetensors;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

/** The dynamic maps of bitsandbytes bit for bit, and blocks of 256 that it has quantised, byte for byte. */
class DynamicMapGoldenTest {
    @Test
    void valuesAreThoseOfTheLibrary() {
        int cases = 0;
        for (Path file : Golden.files("quant", "dynamic-map.*\\.json")) {
            JsonObject maps = Json.read(file);
            same(DynamicMap.SIGNED, maps.numbers("signed"), file + " signed");
            same(DynamicMap.UNSIGNED, maps.numbers("unsigned"), file + " unsigned");
            cases += 2;
        }
        Golden.report("quant/dynamic-map", cases, 0);
    }

    private static void same(DynamicMap map, double[] expected, String what) {
        assertThat(expected).as(what).hasSize(256);
        for (int i = 0; i < 256; i++) {
            assertThat(map.value(i)).as("%s [%d]", what, i).isEqualTo((float) expected[i]);
        }
    }

    @Test
    void blocksAreThoseOfTheLibrary() {
        int cases = 0;
        for (Path file : Golden.files("quant", "blockwise-8bit.*\\.safetensors")) {
            try (Arena arena = Arena.ofShared()) {
                Safetensors t = Safetensors.open(file, arena);
                for (String name : t.tensors().keySet()) {
                    if (!name.contains(".")) {
                        blocks(t, name, arena, file + " " + name);
                        cases++;
                    }
                }
            }
        }
        Golden.report("quant/blockwise-8bit", cases, 0);
    }

    private static void blocks(Safetensors t, String name, Arena arena, String what) {
        float[] x = t.get(name).floats(), scales = t.get(name + ".absmax").floats();
        boolean signed = false;
        for (float v : x) {
            signed |= v < 0;
        }
        DynamicMap map = signed ? DynamicMap.SIGNED : DynamicMap.UNSIGNED;
        MemorySegment codes = arena.allocate(x.length), own = arena.allocate(4L * scales.length, 4);
        MemorySegment back = arena.allocate(4L * x.length, 4);
        map.quantize(codes, own, arena.allocateFrom(ValueLayout.JAVA_FLOAT, x), x.length, 256);
        map.dequantize(back, codes, own, x.length, 256);
        assertThat(own.toArray(ValueLayout.JAVA_FLOAT)).as(what + " scales").containsExactly(scales);
        int[] expected = t.get(name + ".codes").ints();
        for (int i = 0; i < x.length; i++) {
            assertThat(codes.get(ValueLayout.JAVA_BYTE, i) & 0xff)
                    .as("%s code %d of %s", what, i, x[i])
                    .isEqualTo(expected[i]);
        }
        assertThat(back.toArray(ValueLayout.JAVA_FLOAT))
                .as(what)
                .containsExactly(t.get(name + ".dequantised").floats());
    }
}
