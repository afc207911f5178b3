"""Models of llama2.c as Hugging Face folders: a header of seven integers, then all weights as float32.

Pairs of features that turn together lie side by side there and half a head apart in ``transformers``.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

_BOS = 1
_BYTES = 3  # numbers of the tokens that stand for single bytes start here


def read(path: Path) -> tuple[dict[str, int], dict[str, np.ndarray]]:
    """Sizes, and weights by the names and in the layout of ``LlamaForCausalLM``."""
    data = path.read_bytes()
    keys = ("dim", "hidden", "layers", "heads", "groups", "words", "length")
    sizes = dict(zip(keys, struct.unpack("7i", data[:28]), strict=True))
    dim, hidden, layers, words = (sizes[k] for k in ("dim", "hidden", "layers", "words"))
    head = dim // sizes["heads"]
    narrow = head * sizes["groups"]
    rest = np.frombuffer(data, np.float32, offset=28)
    parts = {
        "embed_tokens": (words, dim),
        "input_layernorm": (layers, dim),
        "self_attn.q_proj": (layers, dim, dim),
        "self_attn.k_proj": (layers, narrow, dim),
        "self_attn.v_proj": (layers, narrow, dim),
        "self_attn.o_proj": (layers, dim, dim),
        "post_attention_layernorm": (layers, dim),
        "mlp.gate_proj": (layers, hidden, dim),
        "mlp.down_proj": (layers, dim, hidden),
        "mlp.up_proj": (layers, hidden, dim),
        "norm": (dim,),
    }
    weights: dict[str, np.ndarray] = {}
    for name, shape in parts.items():
        count = int(np.prod(shape))
        held, rest = rest[:count].reshape(shape), rest[count:]
        if name in ("embed_tokens", "norm"):
            weights[f"model.{name}.weight"] = held
            continue
        for layer in range(layers):
            own = held[layer]
            if name.endswith(("q_proj", "k_proj")):
                own = own.reshape(-1, head // 2, 2, dim).transpose(0, 2, 1, 3).reshape(-1, dim)
            weights[f"model.layers.{layer}.{name}.weight"] = own
    return sizes, weights


def save_folder(path: Path, folder: Path) -> None:
    """Write a Hugging Face folder of the model."""
    import torch
    import transformers

    sizes, weights = read(path)
    config = transformers.LlamaConfig(
        vocab_size=sizes["words"],
        hidden_size=sizes["dim"],
        intermediate_size=sizes["hidden"],
        num_hidden_layers=sizes["layers"],
        num_attention_heads=sizes["heads"],
        num_key_value_heads=sizes["groups"],
        max_position_embeddings=sizes["length"],
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
    )
    module = transformers.LlamaForCausalLM(config)
    held: dict[str, Any] = {name: torch.from_numpy(np.array(a)) for name, a in weights.items()}
    missing, surplus = module.load_state_dict(held, strict=False)
    if surplus or set(missing) - {"lm_head.weight"}:
        raise ValueError(f"the weights do not fit: {missing}, {surplus}")
    module.save_pretrained(folder)


def encode(path: Path, text: str) -> list[int]:
    """Tokens of a text by llama2.c's tokeniser: single characters, then the best pair is joined, again and again."""
    pieces, scores = _pieces(path)
    known = {piece: number for number, piece in reversed(list(enumerate(pieces)))}
    tokens: list[int] = [known[b" "]]
    for character in text:
        raw = character.encode()
        tokens += [known[raw]] if raw in known else [byte + _BYTES for byte in raw]
    while True:
        pairs = [(a, b) for a, b in zip(tokens, tokens[1:], strict=False)]
        joined = [known.get(pieces[a] + pieces[b], -1) for a, b in pairs]
        best = max((scores[n], -i) for i, n in enumerate(joined) if n >= 0) if max(joined, default=-1) >= 0 else None
        if best is None:
            return [_BOS, *tokens]
        at = -best[1]
        tokens[at : at + 2] = [joined[at]]


def _pieces(path: Path) -> tuple[list[bytes], list[float]]:
    data, at = path.read_bytes(), 4
    pieces, scores = [], []
    while at < len(data):
        score, length = struct.unpack_from("fi", data, at)
        pieces.append(data[at + 8 : at + 8 + length])
        scores.append(score)
        at += 8 + length
    return pieces, scores
