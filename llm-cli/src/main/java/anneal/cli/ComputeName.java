package anneal.cli;

import anneal.kernels.Compute;

/** {@code --compute}. */
enum ComputeName {
    f32,
    bf16,
    int8;

    /** The precision of that name. */
    Compute precision() {
        return switch (this) {
            case f32 -> Compute.F32;
            case bf16 -> Compute.BF16;
            case int8 -> Compute.INT8;
        };
    }
}
