"""MindSpore checkpoints (``.ckpt``): named weights without a graph."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx_ir as ir

from recast._util.bounded import as_bad_model, element_count, open_bytes
from recast.errors import BadModel, UnsupportedType
from recast.formats.mindspore import wire
from recast.formats.mindspore.types import CHECKPOINT_TYPES
from recast.graph import IR_VERSION, OPSET

# Checkpoint.value: a tag (field 1), then a tensor (field 2) with its type's name
_HEAD = re.compile(
    rb"\x0a[\x00-\xff]{1,5}?\x0a[\x01-\x7f][\x20-\x7e]+\x12[\x00-\xff]{1,60}?\x12[\x04-\x08](Float|BFloat|Int|UInt|Bool)"
)


def sniff(head: bytes) -> bool:
    """Whether a file's first bytes are those of a checkpoint."""
    return _HEAD.match(head) is not None


def read(path: Path) -> ir.Model:
    """Read named tensors into a graph without nodes; large ones come in several pieces of one tag.

    Raises:
        BadModel, TooLarge, UnsupportedType: it does not hold what it declares.
    """
    try:
        message = wire.decode("Checkpoint", open_bytes(path))
        tensors: dict[str, list[wire.Message]] = {}
        for value in message.get("value", ()):
            if "tensor" in value:
                tensors.setdefault(value.get("tag", ""), []).append(value["tensor"])
        values = [_value(tag, pieces) for tag, pieces in tensors.items()]
    except Exception as error:
        raise as_bad_model(error, str(path)) from error
    if not values:
        raise BadModel("the file holds no weights", str(path), "save the checkpoint again")
    graph = ir.Graph([], [], nodes=[], initializers=values, opset_imports={"": OPSET}, name=path.stem)
    return ir.Model(graph, ir_version=IR_VERSION)


def _value(tag: str, pieces: list[wire.Message]) -> ir.Value:
    where, kind = f"weight {tag}", pieces[0].get("tensor_type", "")
    if kind not in CHECKPOINT_TYPES:
        raise UnsupportedType(f"element type '{kind}' of a checkpoint is not read", where, "convert it first")
    dtype, dims = CHECKPOINT_TYPES[kind], pieces[0].get("dims", [])
    held = [p.get("tensor_content", b"") for p in pieces]
    data = held[0] if len(held) == 1 else b"".join(bytes(h) for h in held)
    shape = [] if dims == [0] and len(data) == dtype.numpy().itemsize else dims  # a scalar has the shape (0,) there
    needed = element_count(shape, where) * dtype.numpy().itemsize
    if len(data) != needed or len(shape) > 32:
        raise BadModel(f"{len(data)} bytes for a shape that needs {needed}", where, "save the checkpoint again")
    tensor = ir.Tensor(np.frombuffer(data, dtype.numpy()).reshape(shape), name=tag)
    return ir.Value(name=tag, shape=ir.Shape(shape), type=ir.TensorType(dtype), const_value=tensor)
