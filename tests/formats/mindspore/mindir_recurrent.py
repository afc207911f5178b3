"""Recurrent networks of one operator each: directions, states, biases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.graph.build import Builder

F = ir.DataType.FLOAT
Case = Callable[[Builder, np.random.Generator], Any]


def _lstm(direction: str, state: bool, biased: bool = True) -> Case:
    def build(b: Builder, rng: np.random.Generator) -> None:
        count = 2 if direction == "bidirectional" else 1
        x = b.input("x0", F, (5, "batch", 3))
        shapes = [(count, 28, 3), (count, 28, 7), (count, 56)]
        names = ("W", "R", "B")
        values: list[ir.Value | None] = [
            b.weight(f"lstm/{n}", (rng.normal(size=s) / 2).astype(np.float32))
            for n, s in zip(names, shapes, strict=True)
        ]
        if not biased:
            values[2] = None
        if state:
            values += [None, b.input("h0", F, (count, "batch", 7)), b.input("c0", F, (count, "batch", 7))]
        with b.layer("lstm", "LSTM"):
            for i, y in enumerate(b.node("LSTM", [x, *values], {"hidden_size": 7, "direction": direction}, 3)):
                b.output(y, f"y{i}")

    return build


def _rnn(op: str, direction: str, **attributes: Any) -> Case:
    def build(b: Builder, rng: np.random.Generator) -> None:
        count, gates = 2 if direction == "bidirectional" else 1, 3 if op == "GRU" else 1
        x, h = b.input("x0", F, (5, "batch", 3)), b.input("h0", F, (count, "batch", 7))
        shapes = [(count, 7 * gates, 3), (count, 7 * gates, 7), (count, 14 * gates)]
        names = ("W", "R", "B")
        weights = [
            b.weight(f"rnn/{n}", (rng.normal(size=s) / 2).astype(np.float32))
            for n, s in zip(names, shapes, strict=True)
        ]
        with b.layer("rnn", op):
            options = {"hidden_size": 7, "direction": direction, **attributes}
            for i, y in enumerate(b.node(op, [x, *weights, None, h], options, 2)):
                b.output(y, f"y{i}")

    return build


CASES: dict[str, Case] = {
    "GRU-forward": _rnn("GRU", "forward"),
    "GRU-resetafter": _rnn("GRU", "bidirectional", linear_before_reset=1),
    "RNN-reverse": _rnn("RNN", "reverse"),
    "RNN-relu": _rnn("RNN", "bidirectional", activations=["Relu", "Relu"]),
    "LSTM-forward": _lstm("forward", False),
    "LSTM-reverse": _lstm("reverse", True),
    "LSTM-both": _lstm("bidirectional", True),
    "LSTM-bothzero": _lstm("bidirectional", False, False),
}
