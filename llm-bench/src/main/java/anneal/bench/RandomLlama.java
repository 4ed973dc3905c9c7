package anneal.bench;

import anneal.model.Decoder;
import anneal.model.DecoderConfig;
import anneal.model.Family;
import anneal.model.Init;
import anneal.model.WeightSource;
import anneal.nn.Weight;
import anneal.quant.QuantFormat;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Set;

/** Models of LLaMA's kind that are too large to be kept as files here. */
final class RandomLlama {
    /** TinyLlama's 1.1 billion parameters. */
    static final DecoderConfig B1 = DecoderConfig.builder(Family.LLAMA)
            .vocabSize(32_000)
            .hiddenSize(2048)
            .feedForwardSize(5632)
            .layers(22)
            .heads(32, 4, 64)
            .contextLength(2048)
            .build();

    /** OpenLLaMA's 3.4 billion. */
    static final DecoderConfig B3 = DecoderConfig.builder(Family.LLAMA)
            .vocabSize(32_000)
            .hiddenSize(3200)
            .feedForwardSize(8640)
            .layers(26)
            .heads(32)
            .contextLength(2048)
            .build();

    private RandomLlama() {}

    /**
     * Random weights, each rounded as soon as it is made: no more than one matrix is ever held in floats.
     *
     * @param format null for floats
     * @param floats what stays floats besides the embedding
     */
    static Decoder create(DecoderConfig shape, QuantFormat format, Set<WeightSource.Role> floats) {
        WeightSource kept = new Init.Xavier().weights(shape, 0, Arena.ofAuto());
        return new Decoder(shape, new WeightSource() {
            @Override
            public Weight matrix(String name, int out, int in, Role role) {
                if (format == null || role == Role.EMBEDDING || floats.contains(role)) {
                    return kept.matrix(name, out, in, role);
                }
                try (Arena one = Arena.ofShared()) {
                    Weight weight = new Init.Xavier().weights(shape, 0, one).matrix(name, out, in, role);
                    return format.quantize(weight.matrix(), Arena.ofAuto());
                }
            }

            @Override
            public Tensor vector(String name, int size, float fresh) {
                return kept.vector(name, size, fresh);
            }
        });
    }
}
