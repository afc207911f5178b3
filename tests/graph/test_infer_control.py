"""Shapes through loops: what every turn keeps is known, what a turn changes is not."""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx import TensorProto, helper

from recast.graph.infer import infer_node

_F, _I, _B = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def info(name: str, kind: int, shape: list[int | str] | None = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def inferred(node: onnx.NodeProto, inputs: list[onnx.ValueInfoProto], *constants: onnx.TensorProto) -> list[object]:
    outputs = [onnx.ValueInfoProto(name=n) for n in node.output]
    graph = helper.make_graph([node], "g", inputs, outputs, list(constants))
    model = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)]))
    only = next(iter(model.graph))
    infer_node(only)
    return [None if v.shape is None else [d if isinstance(d, int) else d.value for d in v.shape] for v in only.outputs]


def loop_body(*nodes: onnx.NodeProto) -> onnx.GraphProto:
    inputs = [info("n", _I, []), info("c", _B, []), info("s", _F)]
    return helper.make_graph([*nodes], "b", inputs, [info("c", _B, []), info("t", _F), info("row", _F)])


def test_a_loop_that_keeps_its_state() -> None:
    body = loop_body(helper.make_node("Neg", ["s"], ["t"]), helper.make_node("Transpose", ["t"], ["row"]))
    node = helper.make_node("Loop", ["m", "", "s0"], ["y", "rows"], body=body)
    count = helper.make_tensor("m", _I, [], [7])
    assert inferred(node, [info("s0", _F, ["batch", 5])], count) == [["batch", 5], [7, 5, "batch"]]


def test_a_loop_that_grows_its_state() -> None:
    body = loop_body(
        helper.make_node("Concat", ["s", "s"], ["t"], axis=0), helper.make_node("Transpose", ["t"], ["row"])
    )
    node = helper.make_node("Loop", ["m", "", "s0"], ["y", "rows"], body=body)
    assert inferred(node, [info("m", _I, []), info("s0", _F, [3, 5])]) == [[None, 5], [None, 5, None]]


def test_a_loop_that_changes_the_rank() -> None:
    body = loop_body(helper.make_node("Unsqueeze", ["s", "zero"], ["t"]), helper.make_node("Identity", ["t"], ["row"]))
    node = helper.make_node("Loop", ["m", "", "s0"], ["y", "rows"], body=body)
    zero = helper.make_tensor("zero", _I, [1], [0])
    assert inferred(node, [info("m", _I, []), info("s0", _F, [3, 5])], zero) == [None, None]


def test_a_scan_takes_and_gives_axes() -> None:
    body = helper.make_graph(
        [helper.make_node("Add", ["s", "x"], ["t"]), helper.make_node("Unsqueeze", ["t", "zero"], ["row"])],
        "b", [info("s", _F), info("x", _F)], [info("t", _F), info("row", _F)],
    )  # fmt: skip
    facts = {"num_scan_inputs": 1, "scan_input_axes": [1], "scan_output_axes": [-1]}
    node = helper.make_node("Scan", ["s0", "xs"], ["y", "rows"], body=body, **facts)
    zero = helper.make_tensor("zero", _I, [1], [0])
    inputs = [info("s0", _F, ["batch", 5]), info("xs", _F, ["batch", "time", 5])]
    assert inferred(node, inputs, zero) == [["batch", 5], [1, "batch", 5, "time"]]
