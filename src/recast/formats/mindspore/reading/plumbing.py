"""Tuples, and what orders side effects: no operators of the graph."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from recast.formats.mindspore.read import Call, Monad
from recast.formats.mindspore.reading import Refusal, reads


@reads("Load", "Depend", "StopGradient", "Return", "TensorToTensor")
def through(c: Call) -> Any:
    return c.args[0]


@reads("Identity")
def identity(c: Call) -> ir.Value:
    return c.b.op("Identity", [c.value(0)])


@reads("UpdateState")
def update_state(c: Call) -> Monad:
    return Monad()


@reads("MakeTuple", "make_tuple", "MakeList", "make_list")
def make_tuple(c: Call) -> tuple[Any, ...]:
    return tuple(c.args)


@reads("TupleGetItem", "ListGetItem")
def get_item(c: Call) -> Any:
    held, index = c.args[0], c.number("index", 1)
    if not isinstance(held, tuple) or not -len(held) <= index < len(held):
        raise Refusal(f"element {index} of a tuple of {len(held) if isinstance(held, tuple) else 0}")
    return held[index]


@reads("ScalarToTensor", "TupleToTensor")
def to_tensor(c: Call) -> ir.Value:
    return c.value(0)


@reads("Dropout", "Dropout2D", "Dropout3D")
def dropout(c: Call) -> Any:
    raise Refusal("it was exported for training; export after set_train(False)")
