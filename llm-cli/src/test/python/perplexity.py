"""What transformers makes of a folder that `anneal merge`, `sft --full` or `pretrain` wrote: the line that `anneal eval` prints.

    pip install torch transformers
    ./anneal merge --model BASE --adapter RUN --output merged
    ./anneal eval --model merged --data TEXT --window 512
    python llm-cli/src/test/python/perplexity.py merged TEXT 512

The same windows, none overlapping, no special tokens added; the two lines must agree in all digits.
"""
import math, sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, text, window = sys.argv[1], sys.argv[2], int(sys.argv[3])
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
ids = tokenizer(open(text, encoding="utf-8", newline="").read(), add_special_tokens=False, return_tensors="pt").input_ids
nll, count = 0.0, 0
with torch.no_grad():
    for part in ids.split(window, dim=1):
        if part.shape[1] > 1:
            logits = model(part).logits[0, :-1].double()
            nll += torch.nn.functional.cross_entropy(logits, part[0, 1:], reduction="sum").item()
            count += part.shape[1] - 1
print(f"perplexity {math.exp(nll / count):.4f}  (nll {nll / count:.4f} per token, {count} tokens predicted)")
