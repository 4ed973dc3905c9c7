package anneal.quant;

import anneal.kernels.CodebookMatrix;
import anneal.nn.FolderForm;
import java.util.Optional;

/**
 * A weight in NF4 or FP4. In a Hugging Face folder it stands as bitsandbytes keeps it.
 *
 * @param quantFormat {@link Nf4} or {@link Fp4}
 * @param matrix codes and scales
 */
public record FourBitWeight(QuantFormat quantFormat, CodebookMatrix matrix) implements QuantizedWeight {
    @Override
    public Optional<FolderForm> folderForm() {
        return Optional.of(new Bitsandbytes.FourBitForm(this));
    }
}
