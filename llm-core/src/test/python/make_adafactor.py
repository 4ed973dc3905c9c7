"""Trajectories of transformers' Adafactor: the options that torch's does not have.

    pip install torch transformers safetensors
    python make_adafactor.py OUT_DIR        writes adafactor.safetensors and adafactor.json

A matrix and a vector, twelve recorded gradients; each case stores the parameters after steps 1, 2, 5 and 12.
"""
import json, os, sys
import torch
from safetensors.torch import save_file
from transformers.optimization import Adafactor

out = sys.argv[1]
torch.set_num_threads(1)
g = torch.Generator().manual_seed(7)
start = {"matrix": torch.randn(6, 9, generator=g) * 0.3, "vector": torch.randn(11, generator=g) * 0.3}
steps = [{n: torch.randn(p.shape, generator=g) * (0.1 + i % 4) for n, p in start.items()} for i in range(12)]
cases = {
    "defaults": dict(),
    "warmup_init": dict(warmup_init=True),
    "beta1": dict(beta1=0.9),
    "rate": dict(lr=2e-3, relative_step=False, scale_parameter=False, weight_decay=0.05),
    "rate_scaled": dict(lr=5e-2, relative_step=False, scale_parameter=True, beta1=0.8, clip_threshold=0.7, decay_rate=-0.6, weight_decay=0.1),
}
t = {"start." + n: p for n, p in start.items()} | {f"gradient.{i}.{n}": x for i, s in enumerate(steps) for n, x in s.items()}
for name, options in cases.items():
    p = {n: torch.nn.Parameter(x.clone()) for n, x in start.items()}
    rule = Adafactor(list(p.values()), **options)
    for i, s in enumerate(steps):
        for n, x in s.items():
            p[n].grad = x.clone()
        rule.step()
        if i + 1 in (1, 2, 5, 12):
            t |= {f"{name}.{i}.{n}": x.detach().clone() for n, x in p.items()}
save_file(t, os.path.join(out, "adafactor.safetensors"))
json.dump(cases, open(os.path.join(out, "adafactor.json"), "w"), indent=1)
