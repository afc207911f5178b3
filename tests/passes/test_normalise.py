"""Any opset from 7 on becomes the dialect; what would change silently is refused."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from recast.errors import BadModel, UnsupportedOp
from recast.graph import LAYER, OPSET
from recast.passes.normalise import normalise

from .checks import ort_run


def model(nodes: list[onnx.NodeProto], opset: int, initializers: tuple[onnx.TensorProto, ...] = ()) -> ir.Model:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 7, 5])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], list(initializers))
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8))


def weight(rng: np.random.Generator, name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 17, 21, 25, 26, 28])
def test_any_opset(opset: int, rng: np.random.Generator) -> None:
    weights = (weight(rng, "w", 11, 3, 3, 3), weight(rng, "big", 11, 3, 13, 13))
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["x", "big"], ["b"], pads=[6, 6, 6, 6]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Softmax", ["c"], ["y"], axis=1) if opset >= 13 else helper.make_node("Relu", ["c"], ["y"]),
    ]
    feeds = {"x": rng.standard_normal((2, 3, 7, 5)).astype(np.float32)}
    before = model(nodes, opset, weights)
    want = ort_run(model(nodes, min(opset, OPSET), weights), feeds)
    after = normalise(before, "m.onnx")
    assert after.opset_imports[""] == OPSET
    assert all(n.name and n.metadata_props[LAYER] for n in after.graph)
    assert all(v.shape is not None and v.dtype is not None for n in after.graph for v in n.outputs)
    for got, wanted in zip(ort_run(after, feeds), want, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("opset", "reason"), [(6, "opset 6.*Add"), (1, "opset 1.*Add"), (99, "opset 99")])
def test_opsets_out_of_range(opset: int, reason: str) -> None:
    with pytest.raises(BadModel, match=reason):
        normalise(model([helper.make_node("Add", ["x", "x"], ["y"])], opset), "m.onnx")


def _scan_8(lengths: str) -> onnx.NodeProto:
    """Running sums over time, from the end: state and row of every step."""
    ends = [helper.make_tensor_value_info(name, 1, [3]) for name in ("s", "i", "t", "o")]
    nodes = [helper.make_node("Add", ["s", "i"], ["t"]), helper.make_node("Neg", ["t"], ["o"])]
    body = helper.make_graph(nodes, "b", ends[:2], ends[2:])
    return helper.make_node("Scan", [lengths, "s0", "x3"], ["y", "z"], body=body, num_scan_inputs=1, directions=[1])


def test_scan_of_opset_8_runs_every_item_of_the_batch(rng: np.random.Generator) -> None:
    shapes = {"s0": ["n", 3], "x3": ["n", 5, 3], "y": ["n", 3], "z": ["n", 5, 3]}
    s0, x3, y, z = (helper.make_tensor_value_info(n, 1, s) for n, s in shapes.items())
    graph = helper.make_graph([_scan_8("")], "g", [s0, x3], [y, z])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 8)], ir_version=8)
    after = normalise(ir.from_proto(proto), "m.onnx")
    state, x = rng.standard_normal((2, 3)).astype("f4"), rng.standard_normal((2, 5, 3)).astype("f4")
    got = ort_run(after, {"s0": state, "x3": x})
    sums = state[:, None] + x[:, ::-1].cumsum(1)
    np.testing.assert_allclose(got[0], sums[:, -1], rtol=1e-5)
    np.testing.assert_allclose(got[1], -sums, rtol=1e-5)


def test_scan_of_opset_8_with_lengths_is_refused() -> None:
    with pytest.raises(BadModel, match="sequence lengths"):
        normalise(model([helper.make_node("Identity", ["x"], ["s0"]), _scan_8("x")], 8), "m.onnx")


def _cast(to: int, *names: str) -> onnx.NodeProto:
    return helper.make_node("Cast", names[:1], names[1:], to=to)


def _shift(kind: int) -> list[onnx.NodeProto]:
    shift = helper.make_node("BitShift", ["i", "i"], ["j"], direction="LEFT")
    return [_cast(kind, "x", "i"), shift, _cast(1, "j", "y")]


@pytest.mark.parametrize(
    ("nodes", "opset"),
    [
        ([helper.make_node("SpaceToDepth", ["x"], ["y"], blocksize=1, mode="DCR")], 25),
        ([helper.make_node("SpaceToDepth", ["x"], ["y"], blocksize=1, mode="CRD")], 28),
        ([helper.make_node("Mod", ["x", "x"], ["y"], fmod=1)], 25),
        ([helper.make_node("Mod", ["x", "x"], ["y"])], 28),
        ([helper.make_node("BitCast", ["x"], ["i"], to=6), _cast(1, "i", "y")], 26),
        (_shift(TensorProto.UINT32), 25),
        (_shift(TensorProto.INT32), 28),
    ],
)
def test_only_what_is_newer_than_the_dialect_needs_a_newer_opset(nodes: list[onnx.NodeProto], opset: int) -> None:
    after = normalise(model(nodes, 28), "m.onnx")
    assert after.opset_imports[""] == opset
    assert after.graph.outputs[0].shape is not None


def test_foreign_domains_are_refused_together() -> None:
    nodes = [
        helper.make_node("FusedConv", ["x"], ["a"], domain="com.microsoft"),
        helper.make_node("Scaler", ["a"], ["y"], domain="ai.onnx.ml"),
    ]
    with pytest.raises(UnsupportedOp, match="2 operators"):
        normalise(model(nodes, 21), "m.onnx")


def test_initializers_are_no_inputs(rng: np.random.Generator) -> None:
    w = weight(rng, "w", 11, 3, 3, 3)
    built = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("x", 1, [1, 3, 7, 5]), helper.make_tensor_value_info("w", 1, [11, 3, 3, 3])],
        [helper.make_tensor_value_info("y", 1, None)], [w],
    )  # fmt: skip
    proto = helper.make_model(built, opset_imports=[helper.make_opsetid("", 9)], ir_version=3)
    after = normalise(ir.from_proto(proto), "m.onnx")
    assert [v.name for v in after.graph.inputs] == ["x"]
    assert list(after.graph.initializers) == ["w"]


def test_constants_become_initializers() -> None:
    three = helper.make_node("Constant", [], ["three"], value_float=3.0)
    after = normalise(model([three, helper.make_node("Mul", ["x", "three"], ["y"])], 21), "m.onnx")
    assert [n.op_type for n in after.graph] == ["Mul"]
