"""Real numbers in and out of any model: quantised inputs and outputs by the file's own scales, axes by their sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np

from recast._util.child import TensorSpec
from recast.errors import BadModel
from recast.graph.view import const

if TYPE_CHECKING:
    import onnx_ir as ir

_MOVES = frozenset({"Transpose", "Reshape", "Identity", "Flatten", "Squeeze", "Unsqueeze"})
_LAYOUTS = {4: ((0, 3, 1, 2), (0, 2, 3, 1)), 5: ((0, 4, 1, 2, 3), (0, 2, 3, 4, 1)), 3: ((0, 2, 1),)}


@dataclass(frozen=True)
class Code:
    """A quantised input or output: ``real = (integer - zero) * scale``."""

    scale: float
    zero: int

    def encode(self, real: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Integers of real numbers, rounded half to even and saturated as ONNX's QuantizeLinear does."""
        limits = np.iinfo(dtype)
        # in float32 as the runtimes do: a tie in float32 is none in float64
        scaled = np.rint(real.astype(np.float32) / np.float32(self.scale)) + self.zero
        result: np.ndarray = scaled.clip(limits.min, limits.max).astype(dtype)
        return result

    def decode(self, integers: np.ndarray) -> np.ndarray:
        """Real numbers of integers, float32."""
        result: np.ndarray = (integers.astype(np.float32) - np.float32(self.zero)) * np.float32(self.scale)
        return result


def codes_of(model: ir.Model) -> dict[str, Code]:
    """The codes of integer inputs that are dequantised first, and of outputs that are quantised last; moved or not."""
    found: dict[str, Code] = {}
    for value in model.graph.inputs:
        _note(found, value, _reader(value))
    for value in model.graph.outputs:
        node = value.producer()
        while node is not None and node.op_type in _MOVES and node.inputs[0] is not None:
            node = node.inputs[0].producer()
        _note(found, value, node if node is not None and node.op_type == "QuantizeLinear" else None)
    return found


def _reader(value: ir.Value) -> ir.Node | None:
    """The DequantizeLinear that a value comes to."""
    todo = [value]
    while todo:
        for node in (use.node for use in todo.pop().uses() if use.idx == 0):
            if node.op_type == "DequantizeLinear":
                return node
            if node.op_type in _MOVES:
                todo.append(node.outputs[0])
    return None


def _note(found: dict[str, Code], value: ir.Value, node: ir.Node | None) -> None:
    scale = const(node.inputs[1]) if node is not None else None
    if node is None or scale is None or scale.size != 1:
        return
    zero = const(node.inputs[2]) if len(node.inputs) > 2 else None
    found[value.name or ""] = Code(float(scale.reshape(-1)[0]), int(zero.reshape(-1)[0]) if zero is not None else 0)


def order_for(shape: tuple[int, ...], spec: TensorSpec) -> tuple[int, ...] | None:
    """How samples of a shape (n, …) must be transposed for an input; None: they fit as they are.

    Raises:
        BadModel: no channels-first or channels-last order fits.
    """
    if _fits(shape, spec):
        return None
    for perm in _LAYOUTS.get(len(shape), ()):
        if _fits(tuple(shape[p] for p in perm), spec):
            return perm
    raise BadModel(
        f"samples of shape {list(shape)} for the input '{spec.name}' of shape {list(spec.shape)}",
        "--data",
        "the first axis counts samples, the others are the input's",
    )


def _fits(shape: tuple[int, ...], spec: TensorSpec) -> bool:
    pairs = zip(shape[1:], spec.shape[1:], strict=False)
    return len(shape) == len(spec.shape) and all(isinstance(d, str) or d == n for n, d in pairs)


def back(array: np.ndarray, wanted: tuple[int, ...]) -> np.ndarray:
    """An output (n, …) with its axes in the order whose shape (…) is ``wanted``, where a layout change explains it."""
    if array.shape[1:] == wanted or array.ndim != len(wanted) + 1:
        return array
    for perm in permutations(range(1, array.ndim)):
        order = (0, *perm)
        if order in _LAYOUTS.get(array.ndim, ()) and tuple(array.shape[p] for p in perm) == wanted:
            return array.transpose(order)
    return array


def as_real(samples: np.ndarray, spec: TensorSpec, codes: Mapping[str, Code]) -> np.ndarray:
    """What samples mean to the original: integers of a quantised input's own type are decoded, all else stays."""
    code = codes.get(spec.name)
    return code.decode(samples) if code is not None and samples.dtype.name == spec.dtype else samples


def as_input(real: np.ndarray, spec: TensorSpec, codes: Mapping[str, Code]) -> np.ndarray:
    """Samples (real numbers, see ``as_real``) as an input wants them: axes, then type.

    Raises:
        BadModel: they do not fit, or an integer input without a scale gets broken numbers.
    """
    order = order_for(real.shape, spec)
    array = real if order is None else real.transpose(order)
    dtype = np.dtype(spec.dtype) if spec.dtype != "bfloat16" else _bfloat16()
    if dtype.kind in "iu":
        code = codes.get(spec.name)
        if code is not None:
            return np.ascontiguousarray(code.encode(array, dtype))
        if array.dtype.kind == "f" and not np.array_equal(array, np.rint(array)):
            raise BadModel("the samples are no integers, the input wants them", f"input {spec.name}", "scale the data")
    return np.ascontiguousarray(array.astype(dtype, copy=False))


def _bfloat16() -> np.dtype:
    import ml_dtypes

    found: np.dtype = np.dtype(ml_dtypes.bfloat16)
    return found
