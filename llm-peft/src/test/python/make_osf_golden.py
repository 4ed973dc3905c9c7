"""Records OSF, orthogonal subspace fine-tuning, as PEFT computes it: `make_osf_golden.py GOLDEN` writes GOLDEN/peft/osf.

GOLDEN is a folder with peft/base/llama and peft/lora, whose batch is taken. The layout is that of the other folders of golden/peft: a
fresh adapter in init/, ten steps of AdamW on one batch, the trained adapter, logits, two steps' gradients, merged weights.
Needs torch, transformers, peft (0.21), safetensors; CPU, one thread.
"""

import json
import os
import sys

import peft
import torch
import transformers
from safetensors.torch import load_file, save_file

STEPS, RATE = 10, 2e-3
CONFIG = dict(
    effective_rank=0.5,
    rank_pattern={r"layers\.1.*(gate|down)_proj": 40},
    # Square, wide and high matrices; of the last two 8 directions are left, of the others half.
    target_modules=["layers.0.self_attn.q_proj", "layers.0.self_attn.v_proj", "layers.1.mlp.down_proj", "layers.1.mlp.gate_proj"],
    task_type="CAUSAL_LM",
)


def write_adapter(model, folder):
    model.save_pretrained(folder)
    os.remove(os.path.join(folder, "README.md"))
    file = os.path.join(folder, "adapter_config.json")
    config = json.load(open(file))
    config["base_model_name_or_path"] = "base/llama"
    config["target_modules"] = sorted(config["target_modules"])
    json.dump(config, open(file, "w"), indent=1, sort_keys=True)


def main(golden):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    out = os.path.join(golden, "peft", "osf")
    batch = {k: v for k, v in load_file(os.path.join(golden, "peft", "lora", "golden.safetensors")).items()
             if k in ("input_ids", "attention_mask", "labels")}
    base = transformers.AutoModelForCausalLM.from_pretrained(os.path.join(golden, "peft", "base", "llama"), dtype=torch.float32)
    model = peft.get_peft_model(base, peft.OSFConfig(**CONFIG)).eval()
    write_adapter(model, os.path.join(out, "init"))

    def logits():
        with torch.no_grad():
            return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.contiguous()

    tensors = dict(batch)
    tensors["logits.fresh"] = logits()
    trained = {n.replace(".default", ""): p for n, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(trained.values(), lr=RATE, weight_decay=0.0)
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        losses.append(loss.item())
        if step in (0, 5):
            tensors.update({f"grad{step}.{n}": p.grad.clone() for n, p in trained.items()})
        optimizer.step()
    tensors["logits.final"] = logits()
    with model.disable_adapter():
        tensors["logits.disabled"] = logits()
    write_adapter(model, out)
    before = {n: p.clone() for n, p in load_file(os.path.join(golden, "peft", "base", "llama", "model.safetensors")).items()}
    for name, w in model.merge_and_unload().state_dict().items():
        if name in before and not torch.equal(w, before[name]):
            tensors["merged." + name] = w.contiguous()
    save_file(tensors, os.path.join(out, "golden.safetensors"))
    facts = dict(
        base="base/llama",
        losses=losses,
        optimizer=dict(name="AdamW", lr=RATE, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0),
        trainable_parameters=sum(p.numel() for p in trained.values()),
        versions=dict(torch=torch.__version__, transformers=transformers.__version__, peft=peft.__version__),
    )
    json.dump(facts, open(os.path.join(out, "golden.json"), "w"), indent=1)
    print("osf: loss %.4f -> %.4f, %d merged matrices" % (losses[0], losses[-1], sum(k.startswith("merged.") for k in tensors)))


if __name__ == "__main__":
    main(sys.argv[1])
