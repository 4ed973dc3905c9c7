"""Records what PEFT computes: python make_peft_cases.py GOLDEN STARTS (torch 2.15.0, transformers 5.24.0, peft 0.21.2, one thread).

GOLDEN/peft/NAME: a fresh adapter (init/), ten steps of AdamW on one batch, the trained adapter; read by PeftGoldenTest. Bases are in
GOLDEN/peft/base; llama-bias is made here if it is not there.
STARTS: ids of one batch, and for each start of a LoRA that looks at data the adapter that PEFT begins with (adapter_config.json,
adapter_model.safetensors); read by LoraStartsGoldenTest.
"""
import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
import peft
import torch
import transformers
from peft import (EvaConfig, IA3Config, LNTuningConfig, LoHaConfig, LoKrConfig, LoraConfig, LoraGAConfig, VeraConfig,
                  get_peft_model, get_peft_model_state_dict, initialize_lora_eva_weights)
from peft.tuners.lora import preprocess_loraga
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

torch.set_num_threads(1)
golden, starts = Path(sys.argv[1]) / "peft", Path(sys.argv[2])
STEPS, RATE, TASK = 10, 5e-3, "CAUSAL_LM"


def base(name):
    folder = golden / "base" / name
    if not folder.is_dir():  # biases in attention and feed-forward network
        config = LlamaConfig.from_pretrained(golden / "base/llama")
        config.attention_bias = config.mlp_bias = True
        torch.manual_seed(11)
        model = LlamaForCausalLM(config)
        for n, p in model.named_parameters():
            r = torch.randn(p.shape)
            p.data = 1 + 0.25 * r if "norm" in n else 0.2 * r if p.ndim == 1 else 0.4 * r if "embed" in n else r * 1.3 / p.shape[1] ** 0.5
        model.save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
    model.name_or_path = model.config._name_or_path = f"base/{name}"
    return model


def save(model, folder):
    model.save_pretrained(folder)
    (folder / "README.md").unlink()
    config = json.loads((folder / "adapter_config.json").read_text())
    for key, value in config.items():
        config[key] = sorted(value) if isinstance(value, list) else value
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n")


def put(file, tensors):
    save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, file, metadata={"format": "pt"})


def batch():
    torch.manual_seed(5)
    ids = torch.randint(3, 160, (2, 7))
    labels = ids.clone()
    labels[0, :2] = -100
    return dict(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels)


def logits(model, data):
    with torch.no_grad():
        return model(**data).logits.clone()


def record(name, base_name, config):
    folder, data, reference = golden / name, batch(), base(base_name)
    torch.manual_seed(3)
    model = get_peft_model(base(base_name), config)
    model.train()
    save(model, folder / "init")
    keys = {v.data_ptr(): k for k, v in get_peft_model_state_dict(model).items()}
    trained = {keys[p.data_ptr()]: p for p in model.parameters() if p.requires_grad}
    t = dict(data)
    saved = load_file(folder / "init/adapter_model.safetensors")
    t |= {f"init.{k}": p.clone() for k, p in trained.items() if k not in saved}
    t["logits.fresh"] = logits(model, data)
    rule = torch.optim.AdamW(trained.values(), lr=RATE, weight_decay=0.0, foreach=False)
    losses = []
    for step in range(STEPS):
        rule.zero_grad(set_to_none=False)
        loss = model(**data).loss
        loss.backward()
        losses.append(loss.item())
        if step in (0, 5):
            t |= {f"grad{step}.{k}": p.grad.clone() for k, p in trained.items()}
        rule.step()
    t["logits.final"] = logits(model, data)
    with model.disable_adapter():
        t["logits.disabled"] = logits(model, data)
    save(model, folder)
    facts = dict(made_by="make_peft_cases.py", base=f"base/{base_name}", losses=losses,
                 versions=dict(torch=torch.__version__.split("+")[0], transformers=transformers.__version__, peft=peft.__version__),
                 optimizer=dict(name="AdamW", lr=RATE, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0),
                 trainable_parameters=sum(p.numel() for p in trained.values()))
    before, after = reference.state_dict(), model.merge_and_unload().state_dict()
    t |= {f"merged.{k}": v for k, v in after.items() if k in before and not torch.equal(v, before[k]) and "layers.1" not in k}
    put(folder / "golden.safetensors", t)
    (folder / "golden.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(name, losses[0], losses[-1])


def eva(name, data, targets=("q_proj", "k_proj", "v_proj", "o_proj", "down_proj"), **options):
    config = LoraConfig(task_type=TASK, r=3, lora_alpha=6, target_modules=list(targets),
                        init_lora_weights="eva", eva_config=EvaConfig(tau=0.9999999, **options))
    torch.manual_seed(3)
    model = get_peft_model(base("llama"), config)
    # one batch again and again, until PEFT's incremental SVD, which is a random search, stands still at the directions of this batch
    initialize_lora_eva_weights(model, [{k: data[k] for k in ("input_ids", "attention_mask")}], show_progress_bar=False)
    save(model, starts / name)


def lora_ga(name, data, **options):
    config = LoraConfig(task_type=TASK, r=3, lora_alpha=6, target_modules=["q_proj", "down_proj"], init_lora_weights="lora_ga",
                        lora_ga_config=LoraGAConfig(**options))
    model = base("llama")
    preprocess_loraga(model, config, lambda: model(**data).loss.backward())
    torch.manual_seed(3)
    save(get_peft_model(model, config), starts / name)


head = dict(task_type=TASK, modules_to_save=["lm_head"])
record("lora-embedding-dora", "llama", LoraConfig(task_type=TASK, r=4, lora_alpha=8, use_dora=True, target_modules=["embed_tokens", "q_proj"]))
record("vera-bias", "llama-bias", VeraConfig(r=8, target_modules=["q_proj", "down_proj"], bias="vera_only", projection_prng_key=7, **head))
record("vera-bias-all", "llama-bias", VeraConfig(task_type=TASK, r=8, target_modules=["q_proj"], bias="all", projection_prng_key=7))
record("ia3-whole", "llama", IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"], **head))
record("loha-whole", "llama", LoHaConfig(r=2, alpha=4, target_modules=["q_proj"], **head))
record("lokr-whole", "llama", LoKrConfig(r=2, alpha=4, target_modules=["q_proj"], **head))
record("ln-tuning-whole", "llama", LNTuningConfig(task_type=TASK, target_modules=["norm"], modules_to_save=["embed_tokens"]))

starts.mkdir(parents=True, exist_ok=True)
torch.manual_seed(8)
ids = torch.randint(3, 11, (4, 16))  # of few tokens, so that layers differ in how many directions their inputs have
data = dict(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids)
put(starts / "ids.safetensors", {"input_ids": ids.to(torch.int32)})
eva("eva", data)
eva("eva-rho-1", data, rho=1.0)
eva("eva-rho-3", data, rho=3.0, adjust_scaling_factors=False)
eva("eva-whiten", data, ("o_proj", "down_proj"), whiten=True)  # PEFT 0.21 divides once for each layer that shares an input
for direction in ("ArB2r", "A2rBr", "ArBr"):
    lora_ga(f"lora-ga-{direction}", data, direction=direction)
for scale in ("weight_svd", "gd_scale", "unit"):
    lora_ga(f"lora-ga-{scale}", data, scale=scale)
