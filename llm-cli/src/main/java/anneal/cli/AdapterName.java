package anneal.cli;

import anneal.peft.AdaLora;
import anneal.peft.BitFit;
import anneal.peft.Bottleneck;
import anneal.peft.Ia3;
import anneal.peft.LastLayers;
import anneal.peft.Lisa;
import anneal.peft.LnTuning;
import anneal.peft.LoHa;
import anneal.peft.LoKr;
import anneal.peft.Lora;
import anneal.peft.Method;
import anneal.peft.PTuning;
import anneal.peft.PrefixTuning;
import anneal.peft.PromptTuning;
import anneal.peft.TrainableTokens;
import anneal.peft.Vera;
import java.util.Arrays;
import java.util.Optional;

/** {@code --adapter}: names as PEFT has them, with the learning rate if none is given and the rank if it has one. */
enum AdapterName {
    lora(Lora.class, RunFlags.RATE, 16),
    adalora(AdaLora.class, AdaLora.LEARNING_RATE, 16),
    ia3(Ia3.class, Ia3.LEARNING_RATE, 0),
    loha(LoHa.class, LoHa.LEARNING_RATE, 8),
    lokr(LoKr.class, LoKr.LEARNING_RATE, 8),
    vera(Vera.class, Vera.LEARNING_RATE, 256),
    ln_tuning(LnTuning.class, LnTuning.LEARNING_RATE, 0),
    bitfit(BitFit.class, BitFit.LEARNING_RATE, 0),
    last_layers(LastLayers.class, LastLayers.LEARNING_RATE, 0),
    lisa(Lisa.class, Lisa.LEARNING_RATE, 0),
    trainable_tokens(TrainableTokens.class, TrainableTokens.LEARNING_RATE, 0),
    prefix_tuning(PrefixTuning.class, PrefixTuning.LEARNING_RATE, 0),
    prompt_tuning(PromptTuning.class, PromptTuning.LEARNING_RATE, 0),
    p_tuning(PTuning.class, PTuning.LEARNING_RATE, 0),
    bottleneck(Bottleneck.class, Bottleneck.LEARNING_RATE, 0);

    private final Class<? extends Method> type;
    final double rate;
    final int rank;

    AdapterName(Class<? extends Method> type, double rate, int rank) {
        this.type = type;
        this.rate = rate;
        this.rank = rank;
    }

    /** The name of a method; empty for one that is for programs alone. */
    static Optional<AdapterName> of(Method method) {
        return Arrays.stream(values())
                .filter(name -> name.type.isInstance(method))
                .findFirst();
    }
}
