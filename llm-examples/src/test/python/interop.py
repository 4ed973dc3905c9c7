"""Opens the folders of InteropTest in the libraries they are written for: one line a folder, "NAME worst DIFFERENCE".

FOLDER/adapters/NAME is a PEFT adapter on FOLDER/base, FOLDER/merged/NAME a model of its own, both with the logits that Java computed in
FOLDER/logits/NAME.safetensors, as FOLDER/classifiers/NAME, which tells three labels apart; FOLDER/gguf/NAME.gguf holds the numbers of
FOLDER/gguf/NAME.safetensors.
"""
import sys
from pathlib import Path

import gguf
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

root = Path(sys.argv[1])


def folders(name):
    return sorted((root / name).iterdir()) if (root / name).is_dir() else []


def report(name, model):
    expected = load_file(root / "logits" / f"{name}.safetensors")
    with torch.no_grad():
        logits = model.eval()(expected["input_ids"].long()).logits
    # an adapter may put positions in front of the text
    print(name, "worst", (logits[:, -expected["logits"].shape[1]:] - expected["logits"]).abs().max().item(), flush=True)


def base(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


for folder in folders("adapters"):
    report(folder.name, PeftModel.from_pretrained(base(root / "base"), folder))
for folder in folders("merged"):
    report(folder.name, base(folder))
for folder in folders("classifiers"):
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    assert model.config.id2label == {0: "bad", 1: "good", 2: "so so"}, model.config.id2label
    report(folder.name, model)
for file in folders("gguf"):
    if file.suffix == ".gguf":
        expected = load_file(file.with_suffix(".safetensors"))
        worst = 0
        for tensor in gguf.GGUFReader(file).tensors:
            if tensor.name in expected:
                numbers = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).copy())
                worst = max(worst, (numbers.flatten() - expected[tensor.name].flatten()).abs().max().item())
        print(file.stem, "worst", worst, flush=True)
