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
import anneal.peft.PTuning;
import anneal.peft.PrefixTuning;
import anneal.peft.PromptTuning;
import anneal.peft.TrainableTokens;
import anneal.peft.Vera;

/** {@code --adapter}: names as PEFT has them, with the learning rate if none is given and the rank if it has one. */
enum AdapterName {
    lora(RunFlags.RATE, 16),
    adalora(AdaLora.RATE, 16),
    ia3(Ia3.LEARNING_RATE, 0),
    loha(LoHa.LEARNING_RATE, 8),
    lokr(LoKr.LEARNING_RATE, 8),
    vera(Vera.LEARNING_RATE, 256),
    ln_tuning(LnTuning.LEARNING_RATE, 0),
    bitfit(BitFit.LEARNING_RATE, 0),
    last_layers(LastLayers.LEARNING_RATE, 0),
    lisa(Lisa.LEARNING_RATE, 0),
    trainable_tokens(TrainableTokens.LEARNING_RATE, 0),
    prefix_tuning(PrefixTuning.LEARNING_RATE, 0),
    prompt_tuning(PromptTuning.LEARNING_RATE, 0),
    p_tuning(PTuning.LEARNING_RATE, 0),
    bottleneck(Bottleneck.LEARNING_RATE, 0);

    final double rate;
    final int rank;

    AdapterName(double rate, int rank) {
        this.rate = rate;
        this.rank = rank;
    }
}
