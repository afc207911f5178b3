"""Shared by the tests of the Keras writer: a small stand-in for the layout pass, and the two runtimes."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime

from recast.formats._format import Artifact, WriteOptions
from recast.formats.keras.write import write
from recast.graph import CHANNELS_LAST_DOMAIN
from recast.graph.build import Builder

IMAGE_OPS = frozenset(
    {"Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LRN"}
    | {"InstanceNormalization", "GroupNormalization", "BatchNormalization", "DepthToSpace", "SpaceToDepth"}
)
TOLERANCE = 2e-5  # of the largest output: float32 sums in another order


def image(b: Builder, op: str, inputs: list[ir.Value | None], **attributes: object) -> ir.Value:
    """An image operator as a channels-last reader writes it: between two Transposes."""
    assert inputs[0] is not None
    return b.channels_last(b.op(op, [b.channels_first(inputs[0]), *inputs[1:]], attributes))


def channels_last(model: ir.Model) -> ir.Model:
    """Turn every ``Transpose → image operator → Transpose`` into the channels-last operator."""
    model = model.clone()
    graph = model.graph
    for node in list(graph):
        if node.op_type not in IMAGE_OPS or len(node.outputs[0].shape or ()) < 3:
            continue
        first = node.inputs[0]
        assert first is not None
        before = first.producer()
        assert before is not None
        uses = list(node.outputs[0].uses())
        after = uses[0].node
        source = before.inputs[0] if before.op_type == "Transpose" else first
        new = ir.Node(
            CHANNELS_LAST_DOMAIN,
            node.op_type,
            [source, *node.inputs[1:]],
            attributes=list(node.attributes.values()),
            name=f"{node.name}_last",
            metadata_props=dict(node.metadata_props),
        )
        old = after.outputs[0] if after.op_type == "Transpose" else node.outputs[0]
        dims = list(node.outputs[0].shape or ())
        new.outputs[0].shape, new.outputs[0].type = ir.Shape([dims[0], *dims[2:], dims[1]]), old.type
        new.outputs[0].name = f"{old.name}_last"
        graph.insert_before(node, new)
        ir.convenience.replace_all_uses_with(old, new.outputs[0], replace_graph_outputs=True)
        graph.remove([after, node] if after.op_type == "Transpose" else [node], safe=True)
        if before.op_type == "Transpose" and not list(before.outputs[0].uses()):
            graph.remove(before, safe=True)
    return model


def run_onnx(model: ir.Model, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The graph in ONNX Runtime, unoptimised."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), options)
    return list(session.run(None, feeds))


def run_keras(path: Path, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The file in Keras, loaded by the stock function in safe mode."""
    import keras

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    values = list(feeds.values())
    result = model(values[0] if len(values) == 1 else values, training=False)
    listed = list(result) if isinstance(result, (list, tuple)) else [result]
    return [np.asarray(keras.ops.convert_to_numpy(t)) for t in listed]


def check(
    model: ir.Model,
    feeds: dict[str, np.ndarray],
    folder: Path,
    suffixes: tuple[str, ...] = (".keras", ".h5"),
    tolerance: float = 2e-5,
) -> list[Artifact]:
    """Write, load, run and compare with ONNX Runtime on the same graph."""
    wanted = run_onnx(model, feeds)
    artifacts = []
    for suffix in suffixes:
        path = folder / f"model{suffix}"
        artifacts.append(write(channels_last(model), path, WriteOptions()))
        got = run_keras(path, feeds)
        assert len(got) == len(wanted)
        for one, other in zip(got, wanted, strict=True):
            assert one.shape == other.shape
            assert one.dtype == other.dtype
            if other.dtype.kind == "f":
                scale = max(float(np.abs(other).max()), 1e-3)
                np.testing.assert_allclose(one, other, rtol=0, atol=TOLERANCE * scale)
            else:
                np.testing.assert_array_equal(one, other)
    return artifacts
