"""A trained Llama of 260,000 parameters that tells stories: its folder, its texts, generation with a cache."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from . import _llama2c

_WINDOW = 512  # what the network can look back on
_START = "Once upon a time"


class Running(Protocol):
    """A model in its runtime."""

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once."""
        ...


class Stories:
    """The network as a Hugging Face folder (``folder``), made in ``place`` from llama2.c's files in ``source``."""

    def __init__(self, source: Path, place: Path) -> None:
        self._source, self.folder = source, place / "stories"
        _llama2c.save_folder(source / "stories260K.bin", self.folder)
        self.sizes, _ = _llama2c.read(source / "stories260K.bin")

    def tokens(self, text: str) -> list[int]:
        """A text's tokens, the sign of its beginning first."""
        return _llama2c.encode(self._source / "tok512.bin", text)

    def texts(self) -> list[list[int]]:
        """The tokens of the sample's stories."""
        text = (self._source / "tinystories_sample.txt").read_text(encoding="utf-8")
        return [self.tokens(story.strip()) for story in text.split("<|endoftext|>") if story.strip()]

    def feeds(self, new: list[int], past: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The inputs for new tokens after what the cache holds."""
        seen = next(iter(past.values())).shape[2]
        count = len(new)
        return {
            "input_ids": np.array([new], np.int64),
            "attention_mask": np.ones((1, seen + count), np.int64),
            "position_ids": np.arange(seen, seen + count, dtype=np.int64)[None],
            **past,
        }

    def empty(self) -> dict[str, np.ndarray]:
        """A cache that holds nothing."""
        shape = (1, self.sizes["groups"], 0, self.sizes["dim"] // self.sizes["heads"])
        layers = range(self.sizes["layers"])
        return {f"past_key_values.{n}.{r}": np.zeros(shape, np.float32) for n in layers for r in ("key", "value")}

    def generate(self, runner: Running, count: int) -> list[int]:
        """The likeliest next token, again and again: the start in one call, then one call a token with the cache."""
        past, new, told = self.empty(), self.tokens(_START), list[int]()
        for _ in range(count):
            said = runner.run(self.feeds(new, past))
            past = {n.replace("present", "past_key_values"): a for n, a in said.items() if n.startswith("present")}
            new = [int(said["logits"][0, -1].argmax())]
            told += new
        return told

    def nll(self, runner: Running) -> float:
        """Mean negative log likelihood of the sample's tokens, a story a call."""
        total, count = 0.0, 0
        for text in self.texts():
            logits = runner.run(self.feeds(text[:_WINDOW], self.empty()))["logits"][0, :-1]
            total, count = total + _surprise(logits, text[1:_WINDOW]), count + len(text) - 1
        return total / count

    def _module(self) -> Any:
        import transformers

        return transformers.LlamaForCausalLM.from_pretrained(self.folder).eval()

    def generated(self, count: int) -> list[int]:
        """What ``transformers`` itself generates."""
        import torch

        start = torch.tensor([self.tokens(_START)])
        with torch.no_grad():
            whole = self._module().generate(
                start, attention_mask=torch.ones_like(start), max_new_tokens=count, do_sample=False,
                eos_token_id=None, pad_token_id=0,
            )  # fmt: skip
        return [int(token) for token in whole[0, start.shape[1] :]]

    def nll_of_source(self) -> float:
        """The same mean by ``transformers``."""
        import torch

        module, total, count = self._module(), 0.0, 0
        for text in self.texts():
            with torch.no_grad():
                logits = module(torch.tensor([text[:_WINDOW]])).logits[0, :-1].numpy()
            total, count = total + _surprise(logits, text[1:_WINDOW]), count + len(text) - 1
        return total / count


def _surprise(logits: np.ndarray, wanted: list[int]) -> float:
    """Sum of -log p of the wanted tokens (float64)."""
    scores = logits.astype(np.float64)
    scores -= scores.max(-1, keepdims=True)
    logs = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    return -float(logs[np.arange(len(wanted)), wanted].sum())
