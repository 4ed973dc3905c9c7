"""Files of the public Python libraries that our readers and writers are held against.

    python make_io.py ../resources/io

Versions used: safetensors 0.8.0, gguf 0.19, huggingface_hub, torch, numpy. Deterministic.
"""

import hashlib
import json
import pathlib
import sys

import gguf
import numpy as np
import torch
from huggingface_hub import save_torch_state_dict
from safetensors.torch import save_file

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(7)


def torch_file():
    """Every dtype of the format that we read, odd sizes, an empty tensor, a single number."""
    x = torch.tensor([[0.0, -0.0, 1.0], [1.5, -65504.0, 6.1e-5], [1e-7, 3.1415927, float("inf")]])
    tensors = {
        "f32": x,
        "f16": x.to(torch.float16),
        "bf16": x.to(torch.bfloat16),
        "f64": x.to(torch.float64),
        "i64": torch.tensor([[-(2**62)], [2**31], [7]]),
        "i32": torch.tensor([-(2**31), 0, 2**31 - 1], dtype=torch.int32),
        "i16": torch.tensor([-32768, 32767, 5], dtype=torch.int16),
        "i8": torch.tensor([-128, 127, -1], dtype=torch.int8),
        "u8": torch.tensor([0, 128, 255], dtype=torch.uint8),
        "bool": torch.tensor([True, False, True, True, False]),
        "empty": torch.zeros(0, 4),
        "scalar": torch.tensor(2.5),
        "name \"with\" \u00e9\u4e2d/odd.letters": torch.ones(2, 2),
    }
    save_file(tensors, out / "types.safetensors", metadata={"format": "pt"})
    save_file({"a": x}, out / "metadata.safetensors", metadata={"format": "pt", "note": "l\u00edne\nbreak"})


def sharded():
    folder = out / "sharded"
    folder.mkdir(exist_ok=True)
    tensors = {f"layers.{i}.weight": torch.full((4, 4), float(i)) for i in range(5)}
    save_torch_state_dict(tensors, folder, max_shard_size=150)


def gguf_file():
    """All value types, and each storage type that we read: plain ones, quantised ones, and blocks of random bytes."""
    w = gguf.GGUFWriter(out / "types.gguf", "llama")
    w.add_uint8("t.uint8", 255)
    w.add_int8("t.int8", -128)
    w.add_uint16("t.uint16", 65535)
    w.add_int16("t.int16", -32768)
    w.add_uint32("t.uint32", 2**32 - 1)
    w.add_int32("t.int32", -(2**31))
    w.add_float32("t.float32", 1e-5)
    w.add_uint64("t.uint64", 2**64 - 1)
    w.add_int64("t.int64", -(2**63))
    w.add_float64("t.float64", 1 / 3)
    w.add_bool("t.bool", True)
    w.add_string("t.string", "gr\u00fc\u00df \u4e16\u754c \U0001f600")
    w.add_array("t.strings", ["a", "", "\u0120the", "<0xE4>"])
    w.add_array("t.int32s", [1, -2, 3])
    w.add_array("t.float32s", [0.5, -1.25])
    w.add_array("t.bools", [True, False])
    w.add_array("t.nested", [[1, 2], [3, 4, 5]])
    expected = {}

    def add(name, data, raw=None):
        w.add_tensor(name, data, raw_dtype=raw)
        t = w.tensors[-1][name]
        expected[name] = {
            "dtype": t.dtype.name,
            "shape": [int(s) for s in t.shape],
            "sha256": hashlib.sha256(t.tensor.tobytes()).hexdigest(),
        }

    x = rng.standard_normal((3, 256)).astype(np.float32)
    x[1, 32:64] = 0
    add("x.weight", x)
    add("norm.weight", x[0, :5].copy())
    add("x.f16", x.astype(np.float16))
    types = gguf.GGMLQuantizationType
    for t in (types.BF16, types.Q4_0, types.Q4_1, types.Q5_0, types.Q5_1, types.Q8_0):
        add("x." + t.name, gguf.quants.quantize(x, t), t)
    for t in (types.Q2_K, types.Q3_K, types.Q4_K, types.Q5_K, types.Q6_K):
        size = gguf.GGML_QUANT_SIZES[t][1]
        add("x." + t.name, rng.integers(0, 256, (3, size), dtype=np.uint8), t)
    add("x.i8", np.array([-128, 127, 5], dtype=np.int8))
    add("x.i16", np.array([-32768, 32767], dtype=np.int16))
    add("x.i32", np.array([[-(2**31), 2**31 - 1]], dtype=np.int32))
    add("x.i64", np.array([-(2**63), 2**63 - 1], dtype=np.int64))
    add("x.f64", np.array([1 / 3]))
    add("cube", np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    (out / "types.gguf.json").write_text(json.dumps(expected, indent=1) + "\n")


torch_file()
sharded()
gguf_file()
