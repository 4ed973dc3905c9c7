"""Runs a GGUF file in llama.cpp: "llama worst X", the largest difference of its logits from Java's, as part of the largest logit."""
import sys

import numpy as np
from llama_cpp import Llama
from safetensors.numpy import load_file

expected = load_file(sys.argv[2])
model = Llama(sys.argv[1], n_ctx=32, logits_all=True, verbose=False)
worst = 0
for ids, logits in zip(expected["input_ids"], expected["logits"]):
    model.reset()
    model.eval(ids.tolist())
    worst = max(worst, np.abs(np.asarray(model.scores)[: len(ids)] - logits).max() / np.abs(logits).max())
print("llama worst", worst)
