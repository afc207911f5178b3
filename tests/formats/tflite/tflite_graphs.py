"""Build channels-last graphs, run them in ONNX Runtime in their standard form, and what was written in LiteRT."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from recast._util.child import RemoteRunner
from recast.errors import RuntimeDied
from recast.formats.tflite.writing import IMAGE
from recast.graph.build import Builder
from recast.graph.infer import infer_node


class Judge:
    """One LiteRT process for all tests of a module, started again after a crash."""

    def __init__(self) -> None:
        self._runner: RemoteRunner | None = None
        self.delegates = 0  # parts of the last file that XNNPACK took

    def run(
        self, path: Path, feeds: Mapping[str, np.ndarray], delegate: bool = True
    ) -> tuple[list[str], dict[str, np.ndarray]]:
        if self._runner is None:
            self._runner = RemoteRunner("litert_judge", Path("."))
        try:
            info, outputs = self._runner.call("judge", feeds, path=str(path), delegate=delegate)
        except RuntimeDied:
            self.close()
            raise
        self.delegates = info["delegates"]
        return info["operators"], outputs

    def close(self) -> None:
        if self._runner is not None:
            self._runner.close()
            self._runner = None


def image(
    b: Builder, op_type: str, inputs: list[ir.Value | None], attributes: dict[str, Any] | None = None
) -> ir.Value:
    """An image operator as the layout pass leaves it: channels-last activations, everything else as in ONNX."""
    x = inputs[0]
    assert x is not None
    rank = len(x.shape or ())
    dims = [d if isinstance(d, int) else d.value for d in (x.shape or ())]
    first = ir.Value(name="x", shape=ir.Shape([dims[0], dims[-1], *dims[1:-1]]), type=ir.TensorType(x.dtype))
    attrs = [ir.convenience.convert_attribute(k, v) for k, v in (attributes or {}).items()]
    probe = ir.Node("", op_type, [first, *inputs[1:]], attributes=attrs)
    infer_node(probe)
    probe.replace_input_with(0, None)
    for index in range(1, len(inputs)):
        probe.replace_input_with(index, None)
    y = b.op(op_type, inputs, attributes, domain=IMAGE)
    out = [d if isinstance(d, int) else d.value for d in (probe.outputs[0].shape or ())]
    if not out:  # a function without its own shape inference
        out = [dims[0], dims[-1], *dims[1:-1]]
    assert len(out) == rank
    y.shape = ir.Shape([out[0], *out[2:], out[1]])
    y.dtype = x.dtype
    return y


def standard(model: ir.Model) -> ir.Model:
    """The same model with standard, channels-first image operators between transposes."""
    model = ir.serde.deserialize_model(ir.serde.serialize_model(model))
    for node in list(model.graph):
        if node.domain != IMAGE:
            continue
        x = node.inputs[0]
        assert x is not None
        rank = len(x.shape or ())
        before = ir.Node("", "Transpose", [x], attributes=[ir.AttrInt64s("perm", [0, rank - 1, *range(1, rank - 1)])])
        inner = ir.Node(
            "", node.op_type, [before.outputs[0], *node.inputs[1:]], attributes=list(node.attributes.values())
        )
        after = ir.Node(
            "", "Transpose", [inner.outputs[0]], attributes=[ir.AttrInt64s("perm", [0, *range(2, rank), 1])]
        )
        out = node.outputs[0]
        after.outputs[0].shape, after.outputs[0].dtype = out.shape, out.dtype
        after.outputs[0].name, out.name = out.name, f"{out.name}/inner"
        model.graph.insert_before(node, [before, inner, after])
        ir.convenience.replace_all_uses_with(out, after.outputs[0], replace_graph_outputs=True)
        model.graph.remove(node, safe=True)
    _time_major(model)
    model.opset_imports.pop(IMAGE, None)
    return model


def _time_major(model: ir.Model) -> None:
    """ONNX Runtime has no recurrent operators with ``layout=1``."""
    for node in list(model.graph):
        if "layout" not in node.attributes or node.op_type not in ("LSTM", "GRU", "RNN"):
            continue
        del node.attributes["layout"]
        before = ir.Node("", "Transpose", [node.inputs[0]], attributes=[ir.AttrInt64s("perm", [1, 0, 2])])
        node.replace_input_with(0, before.outputs[0])
        model.graph.insert_before(node, before)
        for index, value in enumerate(node.outputs):
            perm = [2, 0, 1, 3] if index == 0 else [1, 0, 2]
            after = ir.Node("", "Transpose", [value], attributes=[ir.AttrInt64s("perm", perm)])
            new = after.outputs[0]
            new.shape, new.dtype, new.name = value.shape, value.dtype, value.name
            value.shape, value.name = None, f"{value.name}/inner"
            ir.convenience.replace_all_uses_with(value, new, replace_graph_outputs=True)
            after.replace_input_with(0, value)
            model.graph.insert_after(node, after)


def run_onnx(model: ir.Model, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The oracle: ONNX Runtime on the standard graph, without its own fusions."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    data = ir.serde.serialize_model(standard(model)).SerializeToString()
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(None, dict(feeds)), strict=True))
