"""Opens the folders of InteropTest in the libraries they are written for: one line a folder, "NAME worst DIFFERENCE".

FOLDER/adapters/NAME is a PEFT adapter on FOLDER/base, FOLDER/merged/NAME a model of its own, both with the logits that Java computed in
FOLDER/logits/NAME.safetensors, as FOLDER/classifiers/NAME, which tells three labels apart; FOLDER/gguf/NAME.gguf holds the numbers of
FOLDER/gguf/NAME.safetensors. With "packed" behind FOLDER only FOLDER/packed/NAME is opened, models of packed integers: that needs
compressed-tensors.
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


def base(folder, **more):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **more)


if sys.argv[2:] == ["packed"]:
    from compressed_tensors.quantization.lifecycle import forward
    from transformers import CompressedTensorsConfig

    def ours(value, **_):
        """The scale of each token as we have it; the library's is max / 127.5."""
        scale = value.abs().amax(-1, keepdim=True) / 127
        return scale, torch.zeros_like(scale, dtype=torch.int8)

    forward.compute_dynamic_scales_and_zp = ours
    for folder in folders("packed"):
        # transformers 5.24 with compressed-tensors 0.20 opens packed zeros, its own too, only if it widens them while it loads
        wide = {"quantization_config": CompressedTensorsConfig(dequantize=True)} if "asym" in folder.name else {}
        report(folder.name, base(folder, **wide))
    sys.exit()
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
