"""What the pass tests share: run a graph in ONNX Runtime, lay one out, compare."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from recast.graph import PERM
from recast.ops.channels_last import expand
from recast.passes import PassOptions, run

IO = ("keep", "nhwc", "nchw", "auto")


def ort_run(model: ir.Model, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Outputs by ONNX Runtime, without its own graph rewrites."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    data = ir.to_proto(model).SerializeToString()
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"]).run(None, feeds)


def count(model: ir.Model, op_type: str, domain: str | None = None) -> int:
    """How many nodes of a type a graph has."""
    return sum(n.op_type == op_type and domain in (None, n.domain) for n in model.graph)


def perm_of(value: ir.Value) -> list[int] | None:
    """The permutation noted on a graph input or output."""
    noted = value.metadata_props.get(PERM)
    return [int(p) for p in noted.split(",")] if noted else None


def same(left: list[np.ndarray], right: list[np.ndarray], tolerance: float = 2e-5) -> None:
    """Equal shapes, and values within the tolerance relative to the largest one."""
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        scale = float(np.max(np.abs(a.astype(np.float64)), initial=1e-3))
        np.testing.assert_allclose(b.astype(np.float64) / scale, a.astype(np.float64) / scale, atol=tolerance, rtol=0)


def laid_out(
    model: ir.Model, feeds: dict[str, np.ndarray], options: PassOptions, names: tuple[str, ...] = ("layout",)
) -> ir.Model:
    """Run passes on a copy and check that the result computes what the model does; returns the copy."""
    expected = ort_run(model, feeds)
    copy = model.clone()
    run(copy, names, options)
    inputs = {}
    for before, after in zip(model.graph.inputs, copy.graph.inputs, strict=True):
        assert before.name == after.name
        perm = perm_of(after)
        fed = feeds[before.name or ""]
        inputs[before.name or ""] = fed if perm is None else np.ascontiguousarray(fed.transpose(perm))
        assert len(after.shape or ()) == fed.ndim
    assert [v.name for v in copy.graph.outputs] == [v.name for v in model.graph.outputs]
    found = ort_run(expand(copy), inputs)
    for index, value in enumerate(copy.graph.outputs):
        perm = perm_of(value)
        if perm is not None:
            expected[index] = expected[index].transpose(perm)
        shape = [d for d in value.shape or () if isinstance(d, int)]
        actual = [n for d, n in zip(value.shape or (), found[index].shape, strict=True) if isinstance(d, int)]
        assert shape == actual, "the noted shape is wrong"
    same(expected, found, 2e-3)  # sums in another order; a wrong axis is wrong by far more
    for node in copy.graph:
        for value in node.outputs:
            assert value.name
    names_ = [v.name for n in copy.graph for v in n.outputs if v.name]
    assert len(set(names_)) == len(names_)
    return copy
