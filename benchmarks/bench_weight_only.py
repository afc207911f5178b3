"""Weight-only quantisation of a real language model: method beside method, by the loss on text that it has not seen.

The model is ``stories260K`` (Llama: 5 layers, width 64), exported once to ONNX. It is calibrated with stories that the
model itself tells (sampled with a seed), and judged by its loss a token on a story of the data set and on Shakespeare.
``--only int4,int3`` chooses rows by the start of their names.
"""

from __future__ import annotations

import argparse
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from _bench import MODELS, save, table

from recast.compressing import Settings, compress
from recast.compression.gate import Limits
from recast.compression.recipe import Quantize, Step, Steps

FOLDER = MODELS / "stories260k-llama"
LENGTH = 128
_SKIPPED = 32  # first tokens of each row: they lack what went before
_EXPORT = """
import sys, numpy as np, torch, transformers
held = dict(np.load(sys.argv[1]))
dim, hidden, layers, heads, kv, vocab, length = (int(v) for v in held.pop("header"))
config = transformers.LlamaConfig(
    hidden_size=dim, intermediate_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, vocab_size=vocab,
    num_key_value_heads=kv, max_position_embeddings=length, rms_norm_eps=1e-5, tie_word_embeddings=False,
    attn_implementation="eager", use_cache=False,
)
model = transformers.LlamaForCausalLM(config).eval()
missing = model.load_state_dict({n: torch.from_numpy(a) for n, a in held.items()}, strict=False)
assert not missing.unexpected_keys and not missing.missing_keys, missing
size = int(sys.argv[3])
torch.manual_seed(0)
ids = torch.ones((96, 1), dtype=torch.int64)
with torch.no_grad():
    for _ in range(size - 1):
        shares = torch.softmax(model(ids).logits[:, -1], -1)
        ids = torch.cat([ids, torch.multinomial(shares, 1)], 1)
np.save(sys.argv[4], ids.numpy())

class Logits(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = model

    def forward(self, input_ids):
        return self.model(input_ids).logits

batch = torch.export.Dim("batch", min=1, max=4096)
torch.onnx.export(Logits(), (ids[:2],), sys.argv[2], input_names=["input_ids"], output_names=["logits"], dynamo=True,
                  verbose=False, dynamic_shapes={"input_ids": {0: batch}})
"""


def weights(path: Path) -> dict[str, np.ndarray]:
    """llama2.c's file with Hugging Face's names; the rotary pairs side by side become halves."""
    data = path.read_bytes()
    dim, hidden, layers, heads, kv, vocab, length = struct.unpack("7i", data[:28])
    rest, at = np.frombuffer(data, np.float32, offset=28), 0

    def take(*shape: int) -> np.ndarray:
        nonlocal at
        at += int(np.prod(shape))
        return rest[at - int(np.prod(shape)) : at].reshape(shape)

    def halves(w: np.ndarray, count: int) -> np.ndarray:
        return w.reshape(count, -1, 2, dim).transpose(0, 2, 1, 3).reshape(w.shape)

    inner = dim // heads * kv
    found = {"header": np.array([dim, hidden, layers, heads, kv, vocab, length])}
    found["model.embed_tokens.weight"] = found["lm_head.weight"] = take(vocab, dim)
    parts = {
        "input_layernorm": take(layers, dim), "self_attn.q_proj": take(layers, dim, dim),
        "self_attn.k_proj": take(layers, inner, dim), "self_attn.v_proj": take(layers, inner, dim),
        "self_attn.o_proj": take(layers, dim, dim), "post_attention_layernorm": take(layers, dim),
        "mlp.gate_proj": take(layers, hidden, dim), "mlp.down_proj": take(layers, dim, hidden),
        "mlp.up_proj": take(layers, hidden, dim),
    }  # fmt: skip
    for name, stacked in parts.items():
        for number, array in enumerate(stacked):
            turned = {"self_attn.q_proj": heads, "self_attn.k_proj": kv}.get(name)
            found[f"model.layers.{number}.{name}.weight"] = array if turned is None else halves(array, turned)
    found["model.norm.weight"] = take(dim)
    return {n: np.ascontiguousarray(a) for n, a in found.items()}


def tokens(text: str) -> list[int]:
    """Byte pair encoding by llama2.c's table: the best-scored neighbours merge first."""
    data, at, scores, pieces = (FOLDER / "tok512.bin").read_bytes(), 4, [], []
    while at < len(data):
        score, size = struct.unpack("fi", data[at : at + 8])
        scores.append(score)
        pieces.append(data[at + 8 : at + 8 + size])
        at += 8 + size
    number = {p: i for i, p in reversed(list(enumerate(pieces)))}
    ids = [number[c.encode()] if c.encode() in number else 3 + b for c in " " + text for b in c.encode()[:1]]
    while True:
        pairs = [number.get(pieces[a] + pieces[b], -1) for a, b in zip(ids, ids[1:], strict=False)]
        best = max(range(len(pairs)), key=lambda i: scores[pairs[i]] if pairs[i] >= 0 else -1e10)
        if pairs[best] < 0:
            return ids
        ids[best : best + 2] = [pairs[best]]


def loss(path: Path, rows: np.ndarray) -> np.ndarray:
    """Negative log-likelihood of every token but the first ones of each row."""
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.intra_op_num_threads, settings.log_severity_level = 1, 4
    session = ort.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    logits = session.run(None, {"input_ids": rows})[0].astype(np.float64)
    logits -= logits.max(axis=-1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    told: np.ndarray = -np.take_along_axis(logits[:, _SKIPPED:-1], rows[:, _SKIPPED + 1 :, None], axis=-1)
    return told.reshape(-1)


def rows_of(text: str, most: int) -> np.ndarray:
    """Text as rows of tokens, each begun as the model wants it."""
    ids = tokens(text)
    step = LENGTH - 1
    return np.array([[1, *ids[i : i + step]] for i in range(0, len(ids) - step, step)][:most], np.int64)


def methods() -> dict[str, Step | Steps]:
    """Rows of the table."""
    found: dict[str, Step | Steps] = {}
    for bits in (4, 3):
        kind = f"int{bits}"
        awq = Quantize("awq", {"bits": bits})
        found |= {
            f"{kind} nearest": Quantize(kind, {"rounding": "nearest"}),
            f"{kind} hqq": Quantize(kind, {"rounding": "hqq"}),
            f"{kind} awq, nearest": awq >> Quantize(kind, {"rounding": "nearest"}),
            f"{kind} gptq": Quantize(kind, {"samples": 96}),
            f"{kind} awq, gptq": awq >> Quantize(kind, {"samples": 96}),
        }
    found["mixed 20 %"] = Quantize("mixed", {"budget": "size<20%", "samples": 96})
    found["int8"] = Quantize("int8-weights", {"samples": 96})
    return found


def main() -> None:
    """Print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="beginnings of row names, separated by commas")
    wanted = tuple(n for n in parser.parse_args().only.split(",") if n)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "weights.npz", **weights(FOLDER / "stories260K.bin"))
        model, told = folder / "llama.onnx", folder / "told.npy"
        arguments = [str(folder / "weights.npz"), str(model), str(LENGTH), str(told)]
        subprocess.run([sys.executable, "-c", _EXPORT, *arguments], check=True, capture_output=True)
        np.savez(folder / "calibration.npz", input_ids=np.load(told))
        texts = {
            "story": rows_of((FOLDER / "tinystories_sample.txt").read_text(), 16),
            "Shakespeare": rows_of((FOLDER / "tinyshakespeare.txt").read_text()[:8000], 16),
        }
        exact = {n: loss(model, r) for n, r in texts.items()}
        rows: list[dict[str, Any]] = [
            {"method": "float", "bytes": sum(f.stat().st_size for f in folder.glob("llama.onnx*"))}
            | {n: float(v.mean()) for n, v in exact.items()}
        ]
        for method, steps in methods().items():
            if wanted and not method.startswith(wanted):
                continue
            target = folder / f"{method}.onnx"
            settings = Settings(data=folder / "calibration.npz", limits=Limits(allow_worse=True))
            result = compress(model, target, steps, settings)
            found = {n: loss(result.files[0], r) for n, r in texts.items()}
            more = {n: found[n] - exact[n] for n in texts}
            rows.append(
                {"method": method, "bytes": result.files[0].stat().st_size}
                | {n: float(v.mean()) for n, v in found.items()}
                | {f"{n} +": float(v.mean()) for n, v in more.items()}
                | {f"{n} ±": float(1.96 * v.std() / np.sqrt(v.size)) for n, v in more.items()}
            )
            print(rows[-1], flush=True)
    columns = ["method", "bytes", *(c for n in texts for c in (n, f"{n} +", f"{n} ±"))]
    table("Loss a token (nats), and what rounding adds", columns, [[r.get(c, "") for c in columns] for r in rows])
    save("weight_only", {"rows": rows, "tokens": {n: int(v.size) for n, v in exact.items()}, "samples": 96})


if __name__ == "__main__":
    main()
