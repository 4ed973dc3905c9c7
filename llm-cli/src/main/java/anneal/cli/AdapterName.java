package anneal.cli;

import anneal.peft.AdaLora;

/** {@code --adapter}. */
enum AdapterName {
    lora(RunFlags.RATE),
    adalora(AdaLora.RATE);

    /** Learning rate if none is given. */
    final double rate;

    AdapterName(double rate) {
        this.rate = rate;
    }
}
