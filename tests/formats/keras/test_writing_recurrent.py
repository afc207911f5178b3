"""The Keras writer on recurrent layers: every kind, direction and output, batch-major and time-major."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from recast.formats._format import WriteOptions
from recast.formats.keras.write import write
from recast.graph.build import Builder
from tests.formats.keras.keras_judge import channels_last, check, run_keras, run_onnx

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
FLOAT, INT8, INT64 = ir.DataType.FLOAT, ir.DataType.INT8, ir.DataType.INT64


def draw(rng: np.random.Generator, *dims: int) -> np.ndarray:
    return np.asarray(rng.standard_normal(dims) * 0.4, np.float32)


def config_of(path: Path) -> list[dict[str, Any]]:
    with zipfile.ZipFile(path) as archive:
        return list(json.loads(archive.read("config.json"))["config"]["layers"])


RECURRENT = [
    (op, direction, ends, layout)
    for op in ("LSTM", "GRU", "GRU_reset_after", "RNN")
    for direction in ("forward", "reverse", "bidirectional")
    for ends in ("sequence", "last", "both")
    for layout in (0, 1)
    if layout == 0 or (op == "LSTM" and ends != "last")
]


@pytest.mark.parametrize(("op", "direction", "ends", "layout"), RECURRENT, ids=lambda v: str(v))
def test_recurrent(op: str, direction: str, ends: str, layout: int, tmp_path: Path, rng: np.random.Generator) -> None:
    kind, units, features, time = op.split("_")[0], 5, 3, 7
    gates, count = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind], 2 if direction == "bidirectional" else 1
    b = Builder(op)
    x = b.input("x", FLOAT, ("batch", time, features))
    with b.layer("memory", kind):
        weights = [
            b.weight("w", draw(rng, count, gates * units, features)),
            b.weight("r", draw(rng, count, gates * units, units)),
            b.weight("b", draw(rng, count, 2 * gates * units)),
        ]
        attributes: dict[str, Any] = {"hidden_size": units, "direction": direction}
        if op == "GRU_reset_after":
            attributes["linear_before_reset"] = 1
        # ONNX Runtime has no layout=1: the graph is built time-major, then turned by hand below
        first = b.op("Transpose", [x], {"perm": [1, 0, 2]})
        y, h = b.node(kind, [first, *weights], attributes, num_outputs=2)
        if count == 1:
            sequence = b.op("Transpose", [b.op("Squeeze", [y, b.const([1])])], {"perm": [1, 0, 2]})
            last = b.op("Squeeze", [h, b.const([0])])
        else:
            sequence = b.op("Reshape", [b.op("Transpose", [y], {"perm": [2, 0, 1, 3]}), b.const([0, 0, 10])])
            last = b.op("Reshape", [b.op("Transpose", [h], {"perm": [1, 0, 2]}), b.const([0, 10])])
    if ends in ("sequence", "both"):
        b.output(sequence, "sequence")
    if ends in ("last", "both"):
        b.output(last, "last")
    model, feeds = b.model(), {"x": draw(rng, 4, time, features)}
    if layout == 0:
        check(model, feeds, tmp_path)
    else:
        wanted = run_onnx(model, feeds)
        write(batch_major(model, count), tmp_path / "m.keras", WriteOptions())
        for got, other in zip(run_keras(tmp_path / "m.keras", feeds), wanted, strict=True):
            np.testing.assert_allclose(got, other, atol=1e-5)
    if layout == 0 and direction == "forward" and ends != "both":
        write(channels_last(model), tmp_path / "m.keras", WriteOptions())
        assert [layer["name"] for layer in config_of(tmp_path / "m.keras")] == ["x", "memory"]


def batch_major(model: ir.Model, directions: int) -> ir.Model:
    """The same model with its recurrent node at ``layout=1``."""
    model = model.clone()
    node = next(n for n in model.graph if n.op_type == "LSTM")
    node.attributes["layout"] = ir.AttrInt64("layout", 1)
    before = node.inputs[0].producer()  # type: ignore[union-attr]
    assert before is not None
    node.replace_input_with(0, before.inputs[0])
    batch, time = node.inputs[0].shape[0], node.inputs[0].shape[1]  # type: ignore[union-attr,index]
    for value, shape in zip(node.outputs, [(batch, time, directions, 5), (batch, directions, 5)], strict=True):
        value.shape = ir.Shape(shape)
        for use in list(value.uses()):
            user = use.node
            if user.op_type == "Transpose":  # (N, T, D, H) and (N, D, H) are already in place
                ir.convenience.replace_all_uses_with(user.outputs[0], value)
            else:
                axes = ir.Tensor(np.array([2 if len(shape) == 4 else 1]), name=f"axes{len(shape)}")
                constant = ir.Value(name=axes.name, const_value=axes, shape=ir.Shape([1]), type=ir.TensorType(INT64))
                model.graph.initializers[axes.name] = constant  # type: ignore[index]
                user.replace_input_with(1, constant)
                after = next(iter(user.outputs[0].uses()), None)
                if after is not None and after.node.op_type == "Transpose":
                    user.outputs[0].shape = after.node.outputs[0].shape
                    ir.convenience.replace_all_uses_with(
                        after.node.outputs[0], user.outputs[0], replace_graph_outputs=True
                    )
    return model


@pytest.mark.parametrize("merge", ["Concat", "Add"])
@pytest.mark.parametrize("sequence", [True, False], ids=["sequence", "last"])
def test_two_directions_are_bidirectional(merge: str, sequence: bool, tmp_path: Path, rng: np.random.Generator) -> None:
    b = Builder("two")
    x = b.input("x", FLOAT, ("batch", 7, 3))
    ends = []
    for direction in ("reverse", "forward"):
        with b.layer(f"both/{direction}", "LSTM"):
            weights = [b.weight(n, draw(rng, 1, *d)) for n, d in {"w": (20, 3), "r": (20, 5), "b": (40,)}.items()]
            turned = b.op("Transpose", [x], {"perm": [1, 0, 2]})
            y, h = b.node("LSTM", [turned, *weights], {"hidden_size": 5, "direction": direction}, num_outputs=2)
            if sequence:
                ends.append(b.op("Transpose", [b.op("Squeeze", [y, b.const([1])])], {"perm": [1, 0, 2]}))
            else:
                ends.append(b.op("Squeeze", [h, b.const([0])]))
    with b.layer("both", "Bidirectional"):
        b.output(b.op(merge, ends[::-1], {"axis": -1} if merge == "Concat" else {}), "y")
    check(b.model(), {"x": draw(rng, 4, 7, 3)}, tmp_path)
    layers = config_of(tmp_path / "model.keras")
    assert [(layer["class_name"], layer["name"]) for layer in layers[1:]] == [("Bidirectional", "both")]


def test_directions_in_the_other_order_stay_apart(tmp_path: Path, rng: np.random.Generator) -> None:
    b = Builder("swapped")
    x = b.input("x", FLOAT, ("batch", 7, 3))
    ends = []
    for direction in ("forward", "reverse"):
        weights = [b.weight(n, draw(rng, 1, *d)) for n, d in {"w": (5, 3), "r": (5, 5), "b": (10,)}.items()]
        turned = b.op("Transpose", [x], {"perm": [1, 0, 2]})
        _, h = b.node("RNN", [turned, *weights], {"hidden_size": 5, "direction": direction}, num_outputs=2)
        ends.append(b.op("Squeeze", [h, b.const([0])]))
    b.output(b.op("Concat", ends[::-1], {"axis": 1}), "y")
    check(b.model(), {"x": draw(rng, 4, 7, 3)}, tmp_path)


def test_backward_layer_that_is_turned_again_has_no_flip(tmp_path: Path, rng: np.random.Generator) -> None:
    b = Builder("backward")
    x = b.input("x", FLOAT, ("batch", 7, 3))
    with b.layer("gru", "GRU"):
        weights = [b.weight(n, draw(rng, 1, *d)) for n, d in {"w": (15, 3), "r": (15, 5), "b": (30,)}.items()]
        turned = b.op("Transpose", [x], {"perm": [1, 0, 2]})
        attributes = {"hidden_size": 5, "direction": "reverse", "linear_before_reset": 1}
        y, _ = b.node("GRU", [turned, *weights], attributes, num_outputs=2)
        y = b.op("Transpose", [b.op("Squeeze", [y, b.const([1])])], {"perm": [1, 0, 2]})
        y = b.op("Slice", [y, b.const([-1]), b.const([-(2**31)]), b.const([1]), b.const([-1])])
    b.output(y, "y")
    check(b.model(), {"x": draw(rng, 4, 7, 3)}, tmp_path)
    assert [layer["class_name"] for layer in config_of(tmp_path / "model.keras")] == ["InputLayer", "GRU"]


def test_lstm_states_and_initial_state(tmp_path: Path, rng: np.random.Generator) -> None:
    b = Builder("lstm")
    x = b.input("x", FLOAT, (2, 7, 3))
    h0, c0 = b.input("h0", FLOAT, (1, 2, 5)), b.input("c0", FLOAT, (1, 2, 5))
    weights = [b.weight("w", draw(rng, 1, 20, 3)), b.weight("r", draw(rng, 1, 20, 5)), b.weight("b", draw(rng, 1, 40))]
    y = b.op("Transpose", [x], {"perm": [1, 0, 2]})
    outputs = b.node("LSTM", [y, *weights, None, h0, c0], {"hidden_size": 5}, num_outputs=3)
    for index, value in enumerate(outputs):
        b.output(value, f"y{index}")
    feeds = {"x": draw(rng, 2, 7, 3), "h0": draw(rng, 1, 2, 5), "c0": draw(rng, 1, 2, 5)}
    check(b.model(), feeds, tmp_path)
