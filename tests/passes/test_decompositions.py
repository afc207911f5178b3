"""Each decomposition against ONNX Runtime's own operator, with prime sizes and, where it holds, a free batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from recast.graph.build import Builder
from recast.passes import PassOptions, run

from .checks import ort_run

R = np.random.default_rng(7)


def f(*shape: int) -> np.ndarray:
    return R.normal(size=shape).astype(np.float32)


def ints(high: int, *shape: int) -> np.ndarray:
    return R.integers(-high, high, shape)


def rois(count: int) -> np.ndarray:
    low, size = R.uniform(0, 5, (count, 2)), R.uniform(1, 5, (count, 2))
    return np.concatenate([low, low + size], 1).astype(np.float32)


# operator, inputs (the first is the graph's input, its first axis free where the name says so), attributes, outputs
Case = tuple[str, list[Any], dict[str, Any], int]
POOL = {"kernel_shape": [3, 2], "pads": [1, 0, 2, 1]}
CASES: dict[str, Case] = {
    "gridsample-batch": ("GridSample", [f(3, 2, 5, 7), R.uniform(-1.3, 1.3, (3, 11, 2, 2)).astype(np.float32)], {}, 1),
    "gridsample-reflect": (
        "GridSample",
        [f(3, 2, 5, 7), R.uniform(-2, 2, (3, 11, 2, 2)).astype(np.float32)],
        {"padding_mode": "reflection", "mode": "nearest"},
        1,
    ),
    "gridsample-cubic": (
        "GridSample",
        [f(3, 2, 5, 7), R.uniform(-1, 1, (3, 11, 2, 2)).astype(np.float32)],
        {"mode": "cubic", "padding_mode": "border", "align_corners": 1},
        1,
    ),
    "roialign": (
        "RoiAlign",
        [f(2, 3, 11, 13), rois(5), np.array([1, 0, 1, 1, 0])],
        {"output_height": 3, "output_width": 2, "sampling_ratio": 2, "spatial_scale": 1.5},
        1,
    ),
    "roialign-max": (
        "RoiAlign",
        [f(2, 3, 11, 13), rois(5), np.array([1, 0, 1, 1, 0])],
        {"output_height": 2, "output_width": 3, "sampling_ratio": 3, "mode": "max"},
        1,
    ),
    "deformconv-groups": (
        "DeformConv",
        [f(2, 6, 7, 5), f(4, 3, 3, 2), f(2, 36 // 3 * 2, 3, 4), f(4), f(2, 12, 3, 4)],
        {"group": 2, "offset_group": 2, "strides": [2, 1], "pads": [0, 0, 0, 0], "kernel_shape": [3, 2]},
        1,
    ),
    "maxpool-dilated-indices": ("MaxPool", [f(2, 3, 11, 13)], {**POOL, "pads": [1, 0, 0, 1], "dilations": [2, 3]}, 2),
    "averagepool-dilated-batch": ("AveragePool", [f(2, 3, 11, 13)], {**POOL, "dilations": [2, 3]}, 1),
    "averagepool-ceil-batch": (
        "AveragePool",
        [f(2, 3, 11, 13)],
        {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 1, 1], "ceil_mode": 1, "count_include_pad": 1},
        1,
    ),
    "lppool-batch": ("LpPool", [f(2, 3, 11, 13)], {**POOL, "p": 3, "strides": [2, 1]}, 1),
    "scatterelements-add": ("ScatterElements", [f(5, 7), ints(5, 3, 7), f(3, 7)], {"axis": 0, "reduction": "add"}, 1),
    "scatterelements-max": ("ScatterElements", [f(5, 7), ints(7, 5, 11), f(5, 11)], {"axis": 1, "reduction": "max"}, 1),
    "gathernd-images": ("GatherND", [f(2, 3, 5, 7), ints(3, 2, 11, 2) % 3], {"batch_dims": 1}, 1),
    "trilu": ("Trilu", [f(2, 5, 7), np.array(-2)], {"upper": 0}, 1),
    "pad-edge": ("Pad", [f(3, 5), np.array([2, 0, 1, 3])], {"mode": "edge"}, 1),
    "pad-cut-batch": ("Pad", [f(3, 5), np.array([0, -2, 0, 3]), np.float32(7)], {}, 1),
    "dft": ("DFT", [f(2, 11, 3, 2)], {"inverse": 1}, 1),
    "stft": ("STFT", [f(2, 31, 1), np.array(5), f(7)], {}, 1),
    "det": ("Det", [f(5, 4, 4)], {}, 1),
    "hardmax-batch": ("Hardmax", [f(3, 7)], {"axis": 1}, 1),
    "argmax-last": ("ArgMax", [ints(2, 5, 11).astype(np.float32)], {"axis": 1, "select_last_index": 1}, 1),
    "topk-smallest": ("TopK", [f(5, 11), np.array([3])], {"largest": 0, "axis": 0}, 2),
    "reversesequence": ("ReverseSequence", [f(7, 3, 2), np.array([7, 1, 4])], {"time_axis": 0, "batch_axis": 1}, 1),
    "compress": ("Compress", [f(5, 7), np.array([True, False, True, True])], {"axis": 1}, 1),
    "eyelike": ("EyeLike", [f(5, 7)], {"k": -2}, 1),
    "mod-signs": ("Mod", [ints(99, 5, 7), ints(9, 7) * 2 + 1], {"fmod": 1}, 1),
    "pow-integers": ("Pow", [ints(9, 5, 7), np.array([0, 1, 2, 3, 4, 5, 6])], {}, 1),
    "bitwisenot": ("BitwiseNot", [ints(99, 5, 7)], {}, 1),
    "quantize-blocks": (
        "QuantizeLinear",
        [f(3, 10), np.abs(f(3, 5)) + 0.1, ints(9, 3, 5).astype(np.int8)],
        {"axis": 1, "block_size": 2},
        1,
    ),
    "layernorm-stats-batch": ("LayerNormalization", [f(3, 5, 7), f(5, 7), f(5, 7)], {"axis": 1}, 3),
}  # fmt: skip


def build(name: str) -> tuple[ir.Model, dict[str, np.ndarray]]:
    op, inputs, attributes, count = CASES[name]
    b = Builder()
    first = inputs[0]
    shape = ["batch" if i == 0 and name.endswith("-batch") else d for i, d in enumerate(first.shape)]
    x = b.input("x", ir.DataType.from_numpy(first.dtype), shape)
    rest = [b.weight(f"w{i}", np.asarray(a)) for i, a in enumerate(inputs[1:])]
    for index, value in enumerate(b.node(op, [x, *rest], attributes, count)):
        b.output(value, f"y{index}")
    return b.model(), {"x": first}


@pytest.mark.parametrize("name", CASES)
def test_decomposition(name: str) -> None:
    model, feeds = build(name)
    if name.startswith("roialign"):  # ONNX Runtime has none of opset 22
        expected = ReferenceEvaluator(ir.to_proto(model)).run(None, feeds)
    else:
        expected = ort_run(model, feeds)
    op = CASES[name][0]
    native: Callable[[ir.Node], bool] = lambda node: node is not first and node.op_type != "ScatterElements"  # noqa: E731
    first = next(iter(model.graph))
    run(model, ["decompose"], PassOptions(native=native))
    assert first.graph is None, op
    for wanted, found in zip(expected, ort_run(model, feeds), strict=True):
        assert wanted.dtype == found.dtype
        assert wanted.shape == found.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=2e-5)
