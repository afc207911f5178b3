"""The shapes told without protobuf are those of ONNX's own inference, and nothing is told where ONNX refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from recast.errors import BadShape
from recast.graph import infer
from recast.graph.build import Builder
from recast.graph.infer_quick import quick

Case = tuple[str, list[tuple[Any, ...]], dict[str, Any], list[np.ndarray]]


def _pick(rng: np.random.Generator, *choices: Any) -> Any:
    return choices[int(rng.integers(len(choices)))]


def _window(rng: np.random.Generator, size: int) -> dict[str, Any]:
    def numbers(low: int, high: int, count: int) -> list[int]:
        return [int(d) for d in rng.integers(low, high, count)]

    attributes: dict[str, Any] = {}
    if rng.random() < 0.7:
        attributes["strides"] = numbers(1, 4, size)
    if rng.random() < 0.5:
        attributes["dilations"] = numbers(1, 3, size)
    auto = _pick(rng, None, None, "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
    if auto is not None:
        attributes["auto_pad"] = auto
    if auto in (None, "NOTSET") and rng.random() < 0.6:
        attributes["pads"] = numbers(0, 3, 2 * size)
    return attributes


def _conv(rng: np.random.Generator) -> Case:
    size, group = int(rng.integers(1, 4)), _pick(rng, 1, 1, 5)
    space = [_pick(rng, 3, 7, 11, 13, "w") if rng.random() < 0.2 else _pick(rng, 7, 11, 13) for _ in range(size)]
    kernel = [int(k) for k in rng.integers(1, 6, size)]
    attributes = _window(rng, size) | {"group": group}
    if rng.random() < 0.5:
        attributes["kernel_shape"] = kernel
    channels = _pick(rng, 5, 5, 5, 10, "c")
    return "Conv", [("n", channels, *space), (15, 5 // group, *kernel)], attributes, []


def _pool(rng: np.random.Generator) -> Case:
    size = int(rng.integers(1, 4))
    attributes = _window(rng, size) | {"kernel_shape": [int(k) for k in rng.integers(1, 5, size)]}
    attributes["ceil_mode"] = _pick(rng, 0, 0, 1)
    space = [_pick(rng, 5, 7, 11) for _ in range(size)]
    return _pick(rng, "MaxPool", "AveragePool"), [(_pick(rng, "n", 3), _pick(rng, "c", 5), *space)], attributes, []


def _elementwise(rng: np.random.Generator) -> Case:
    def dims() -> tuple[Any, ...]:
        return tuple(_pick(rng, 1, 1, 3, "n", "m", None) for _ in range(int(rng.integers(0, 4))))

    first = dims()
    return _pick(rng, "Add", "Sub", "Mul", "Div"), [first, first if rng.random() < 0.3 else dims()], {}, []


def _matrices(rng: np.random.Generator) -> Case:
    inner, wanted = (5, 5) if rng.random() < 0.8 else (5, _pick(rng, 7, "k"))
    if rng.random() < 0.5:
        head = tuple(_pick(rng, "n", 3, 1) for _ in range(int(rng.integers(1, 4))))
        return "MatMul", [(*head, inner), (wanted, 11)], {}, []
    turned, other = int(rng.integers(2)), int(rng.integers(2))
    a, b = ("n", inner)[:: -1 if turned else 1], (wanted, 11)[:: -1 if other else 1]
    return "Gemm", [a, b, (11,)], {"transA": turned, "transB": other}, []


def _reshape(rng: np.random.Generator) -> Case:
    source = tuple(_pick(rng, 2, 3, 5, "n") for _ in range(int(rng.integers(1, 4))))
    target = [_pick(rng, 0, 0, -1, 2, 3, 6, 15) for _ in range(int(rng.integers(1, 4)))]
    return "Reshape", [source], {"allowzero": _pick(rng, 0, 0, 0, 1)}, [np.array(target, np.int64)]


def _others(rng: np.random.Generator) -> Case:
    shape = ("n", 5, *(_pick(rng, 7, 11, "w") for _ in range(int(rng.integers(0, 4)))))
    if rng.random() < 0.3:
        return "BatchNormalization", [shape, *[(_pick(rng, 5, 5, 5, 5, 7),)] * 4], {}, []
    if rng.random() < 0.3:
        return "Transpose", [shape], {"perm": [int(p) for p in rng.permutation(len(shape))]}, []
    return _pick(rng, "GlobalAveragePool", "GlobalMaxPool", "Relu", "Softmax", "Dropout", "Clip"), [shape], {}, []


def _node(case: Case, types: list[ir.DataType]) -> ir.Node:
    op_type, shapes, attributes, constants = case
    inputs = [
        ir.Value(name=f"i{i}", shape=ir.Shape(s), type=ir.TensorType(t))
        for i, (s, t) in enumerate(zip(shapes, types, strict=True))
    ]
    for array in constants:
        tensor = ir.Tensor(array, name="c")
        inputs.append(ir.Value(name="c", shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor))
    return ir.node(op_type, inputs, attributes)


def _types(rng: np.random.Generator, case: Case) -> list[ir.DataType]:
    """Mostly float32; else another type, or another type for the last input."""
    count = len(case[1])
    if case[0] not in STRICT or rng.random() < 0.8:
        return [ir.DataType.FLOAT] * count
    other = _pick(rng, ir.DataType.DOUBLE, ir.DataType.INT8, ir.DataType.INT64, ir.DataType.BOOL)
    return [other] * count if rng.random() < 0.5 else [*[ir.DataType.FLOAT] * (count - 1), other]


def _told(node: ir.Node) -> Any:
    value = node.outputs[0]
    return value.dtype, None if value.shape is None else [d if isinstance(d, int) else d.value for d in value.shape]


STRICT = ("Add", "Sub", "Mul", "Div", "MatMul", "Gemm", "Conv", "MaxPool", "GlobalMaxPool", "AveragePool")
MAKERS = {
    "conv": _conv,
    "pool": _pool,
    "binary": _elementwise,
    "matrix": _matrices,
    "reshape": _reshape,
    "other": _others,
}


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_as_onnx_infers(maker: Callable[[np.random.Generator], Case], monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(17)
    monkeypatch.setattr(infer, "quick", lambda node: False)
    quick_ones = 0
    for _ in range(300):
        case = maker(rng)
        types = _types(rng, case)
        fast, slow = _node(case, types), _node(case, types)
        told = quick(fast)
        quick_ones += told
        try:
            infer.infer_node(slow)
        except BadShape:
            assert not told, (case, types)
        else:
            assert not told or _told(fast) == _told(slow) or _proved(case, fast), (case, types)
    assert quick_ones > 30


def _proved(case: Case, node: ir.Node) -> bool:
    """Whether a Reshape with one named dimension, which ONNX leaves open, has the told shape at every size."""
    op_type, shapes, attributes, constants = case
    _, told = _told(node)
    if op_type != "Reshape" or attributes["allowzero"] or told is None or told.count("n") != 1:
        return False
    for n in (1, 7, 30):
        source = [n if d == "n" else d for d in shapes[0]]
        target = [source[i] if d == 0 else d for i, d in enumerate(constants[0].tolist())]
        if list(np.zeros(source).reshape(target).shape) != [n if d == "n" else d for d in told]:
            return False
    return True


def test_a_clone_inferred_anew_leaves_the_original_alone() -> None:
    b = Builder("two types")
    b.output(b.op("Relu", [b.input("x", ir.DataType.FLOAT, (3, 5))]), "y")
    model = b.model()
    clone = model.clone()
    clone.graph.inputs[0].type = ir.TensorType(ir.DataType.FLOAT16)
    for node in clone.graph:
        infer.infer_node(node)
    assert clone.graph.outputs[0].dtype == ir.DataType.FLOAT16
    assert model.graph.outputs[0].dtype == ir.DataType.FLOAT
