"""Where MindSpore's CPU kernels compute otherwise than ONNX says, or lack a type: the feeds are those that show it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from mindir_judge import Judge, assert_same, reference, written

from recast.formats import by_name
from recast.formats._format import ReadOptions
from recast.graph.build import Builder

LARGE = np.int64([2**53 + 1, -(2**53 + 3), 2**62 + 1, 7, -(2**63), 2**63 - 1, -7])
BY = np.int64([3, 3, -5, -2, 3, 7, 2])
TIES = np.float32([1, 3, 3, 1, 3, 1, 1, 3, 2, 3, 1])
MASKED = np.float32([[-np.inf] * 5, [0, 1, -np.inf, 2, 3], [-np.inf] * 5, [1, 2, 3, 5, 7]])
Wanted = Callable[[np.ndarray], list[np.ndarray]]


def _soft(x: np.ndarray) -> list[np.ndarray]:
    with np.errstate(invalid="ignore"):
        e = np.exp(x - x.max(-1, keepdims=True))
        return [e / e.sum(-1, keepdims=True)]


def _cut(x: np.ndarray) -> list[np.ndarray]:
    exact = [abs(int(a)) // abs(int(b)) * (1 if (a < 0) == (b < 0) else -1) for a, b in zip(x, BY, strict=True)]
    return [np.asarray(exact, np.int64)]


def _pooled(x: np.ndarray) -> list[np.ndarray]:
    """Every second element, two at a time, of (1, 2, 7): the larger, and where it is."""
    pairs = np.stack([x[..., i : i + 3 : 2] for i in range(5)], -2)
    at = pairs.argmax(-1) * 2 + np.arange(5) + np.arange(2)[None, :, None] * 7
    return [pairs.max(-1), at]


# name: operator, the input, constants after it, attributes, what is right, number of outputs
CASES: dict[str, tuple[str, np.ndarray, list[Any], dict[str, Any], Wanted]] = {
    "Div-int64": ("Div", LARGE, [BY], {}, _cut),
    "Mod-int64": (
        "Mod", LARGE, [BY], {}, lambda x: [np.int64([int(a) % int(b) for a, b in zip(x, BY, strict=True)])],
    ),
    "Div-uint64": (
        "Div", LARGE.view(np.uint64), [np.uint64([3, 2**63 + 5, 1, 2**63, 10, 2**53 + 1, 7])], {},
        lambda x: [x // np.uint64([3, 2**63 + 5, 1, 2**63, 10, 2**53 + 1, 7])],
    ),
    "ReduceSum-int64": ("ReduceSum", LARGE[:4], [np.int64([0])], {"keepdims": 0}, lambda x: [x.sum()[()]]),
    "Sub-uint32": ("Sub", np.uint32([1, 7, 3]), [np.uint32([2, 3, 3])], {}, lambda x: [x - np.uint32([2, 3, 3])]),
    "Max-uint16": ("Max", np.uint16([1, 65535]), [np.uint16([2, 3])], {}, lambda x: [np.uint16([2, 65535])]),
    "ReduceMax-bool": (
        "ReduceMax", np.eye(3, 5, dtype=bool), [np.int64([1])], {"keepdims": 0}, lambda x: [x.any(1)],
    ),
    "ReduceMax-empty": (
        "ReduceMax", np.zeros((3, 0, 5), np.float32), [np.int64([1])], {},
        lambda x: [np.full((3, 1, 5), -np.inf, x.dtype)],
    ),
    "BitShift-far": (
        "BitShift", np.int32([-8, 8, -8, 8]), [np.int32([40, 32, -1, 2])], {"direction": "RIGHT"},
        lambda x: [np.int32([-1, 0, -1, 2])],
    ),
    "Softmax-masked": ("Softmax", MASKED, [], {"axis": -1}, _soft),
    "TopK-ties": (
        "TopK", TIES, [np.int64([7])], {},
        lambda x: [x[np.argsort(-x, kind="stable")[:7]], np.argsort(-x, kind="stable")[:7]],
    ),
    "TopK-uint64": (
        "TopK", LARGE.view(np.uint64), [np.int64([3])], {"largest": 0},
        lambda x: [np.sort(x)[:3], np.argsort(x, kind="stable")[:3]],
    ),
    "ArgMax-last": ("ArgMax", TIES, [], {"axis": 0, "select_last_index": 1}, lambda x: [np.int64([9])]),
    "Compress-runtime": (
        "Compress", TIES, [TIES > 2], {"axis": 0}, lambda x: [x[x > 2]],
    ),
    "NonZero-plain": ("NonZero", np.float32([[0, 1, 2], [3, 0, 0]]), [], {}, lambda x: [np.stack(np.nonzero(x))]),
    "MaxPool-indices": (
        "MaxPool", np.float32([[[1, 5, 2, 5, 0, 7, 3], [9, 1, 9, 2, 8, 1, 0]]]), [],
        {"kernel_shape": [2], "dilations": [2]}, _pooled,
    ),
    "ScatterElements-max": (
        "ScatterElements", TIES, [np.int64([1, 1, -1]), np.float32([2, 7, 5])], {"reduction": "max"},
        lambda x: [np.concatenate([x[:1], [7], x[2:10], [5]]).astype("f4")],
    ),
    "GatherND-batch": (
        "GatherND", np.arange(24, dtype=np.float32).reshape(2, 3, 4), [np.int64([[1], [-1]])], {"batch_dims": 1},
        lambda x: [np.stack([x[0, 1], x[1, 2]])],
    ),
    "OneHot-bool": (
        "OneHot", np.int64([1, -1, 5]), [np.int64(3), np.array([False, True])], {},
        lambda x: [np.array([[False, True, False], [False, False, True], [False] * 3])],
    ),
}  # fmt: skip
OUTPUTS = {"TopK": 2, "MaxPool": 2}


def _model(name: str) -> tuple[ir.Model, dict[str, np.ndarray], dict[str, np.ndarray]]:
    op, x, constants, attributes, wanted = CASES[name]
    b = Builder("net")
    value = b.input("x", ir.DataType.from_numpy(x.dtype), x.shape)
    held = [b.const(np.asarray(c), name=f"c{i}") for i, c in enumerate(constants)]
    right = wanted(x)
    with b.layer("layer", op):
        made = b.node(op, [value, *held], attributes, OUTPUTS.get(op, 1))
    for i, y in enumerate(made):
        if y.shape is None or y.dtype is None:
            y.shape, y.dtype = ir.Shape(right[i].shape), ir.DataType.from_numpy(right[i].dtype)
        b.output(y, f"y{i}")
    return b.model(), {"x": x}, {f"y{i}": r for i, r in enumerate(right)}


@pytest.mark.parametrize("name", sorted(CASES))
def test_kernel(name: str, judge: Judge, tmp_path: Path) -> None:
    model, feeds, wanted = _model(name)
    path = written(model, tmp_path / "net.mindir")
    assert_same(judge.run(path, feeds), wanted)
    by_name("mindspore").read(path, ReadOptions())


_BRANCHES = """<ir_version: 10, opset_import: ["" : 25]>
g (float[N,5] x, bool c) => (float[N,5] y, float[N,5] z)
{
  h = Relu(x)
  y, z = If (c) <then_branch = t () => (float[N,5] a, float[N,5] q) { m = MatMul(h, W) a = Exp(m) q = Identity(x) },
                 else_branch = e () => (float[N,5] b, float[N,5] p) { b = Mul(h, x) p = Sub(x, h) }>
}"""


def _branches(rng: np.random.Generator) -> tuple[ir.Model, np.ndarray]:
    proto = onnx.parser.parse_model(_BRANCHES)
    weight = rng.normal(size=(5, 5)).astype(np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, "W"))
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto)), weight


@pytest.mark.parametrize("chosen", [True, False])
def test_branch(chosen: bool, judge: Judge, tmp_path: Path, rng: np.random.Generator) -> None:
    """An If becomes two functions and a Switch: only the chosen one runs, with what it needs of the graph around."""
    model, weight = _branches(rng)
    path = written(model, tmp_path / "net.mindir")
    x = rng.normal(size=(3, 5)).astype(np.float32)
    h = np.maximum(x, 0)
    wanted: Mapping[str, np.ndarray] = {"y": np.exp(h @ weight), "z": x} if chosen else {"y": h * x, "z": x - h}
    feeds = {"x": x, "c": np.asarray(chosen)}
    assert_same(judge.run(path, feeds), wanted)
    assert_same(reference(by_name("mindspore").read(path, ReadOptions()), feeds), wanted)
