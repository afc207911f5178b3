"""Files of Keras 1 and 2 that today's Keras no longer reads, made by hand and worked out with NumPy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from recast.errors import BadModel, UnsupportedOp
from recast.formats._format import ReadOptions
from recast.formats.keras import FORMAT

Weights = dict[str, dict[str, np.ndarray]]


def saved(path: Path, model: dict[str, Any], weights: Weights, version: str, **attributes: str) -> Path:
    """An .h5 file with this config and these weights by layer."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(model).encode()
        file.attrs["keras_version"] = version.encode()
        top = file.create_group("model_weights")
        top.attrs["layer_names"] = [name.encode() for name in weights]
        for key, value in attributes.items():
            top.attrs[key] = value.encode()
        for layer, held in weights.items():
            group = top.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in held]
            for name, value in held.items():
                group.create_dataset(name, data=value)
    return path


def run(path: Path, *feeds: np.ndarray) -> list[np.ndarray]:
    """Outputs of the graph in ONNX Runtime."""
    model = FORMAT.read(path, ReadOptions())
    session = onnxruntime.InferenceSession(ir.serde.serialize_model(model).SerializeToString())
    names = [i.name for i in session.get_inputs()]
    made: list[np.ndarray] = session.run(None, dict(zip(names, feeds, strict=True)))
    return made


def layer(class_name: str, name: str, inbound: list[Any] | None = None, **config: Any) -> dict[str, Any]:
    """A layer's entry."""
    made: dict[str, Any] = {"class_name": class_name, "name": name, "config": {"name": name, **config}}
    return made if inbound is None else {**made, "inbound_nodes": inbound}


def functional(layers: list[Any], inputs: list[Any], outputs: list[Any], name: str = "m") -> dict[str, Any]:
    """A functional model's config."""
    config = {"name": name, "layers": layers, "input_layers": inputs, "output_layers": outputs}
    return {"class_name": "Functional", "config": config}


def source(*shape: int | None, name: str = "x") -> dict[str, Any]:
    """An input layer of Keras 2."""
    return layer("InputLayer", name, [], batch_input_shape=[None, *shape], dtype="float32")


def test_keras1_network(tmp_path: Path, rng: np.random.Generator) -> None:
    kernel, bias = rng.normal(size=(3, 2, 3, 5)).astype("f4"), rng.normal(size=5).astype("f4")
    dense, shift = rng.normal(size=(5, 7)).astype("f4"), rng.normal(size=7).astype("f4")
    layers = [
        layer(
            *("Convolution2D", "c"),
            **{"nb_filter": 5, "nb_row": 3, "nb_col": 2, "border_mode": "valid", "subsample": [2, 1], "bias": True},
            **{"dim_ordering": "tf", "activation": "linear", "batch_input_shape": [None, 7, 5, 3]},
        ),
        layer("GlobalMaxPooling2D", "g", dim_ordering="tf"),
        layer("Dropout", "o", p=0.5),
        layer("Dense", "d", output_dim=7, activation="hard_sigmoid", bias=True),
    ]
    held = {"c": {"c_W": kernel, "c_b": bias}, "d": {"d_W": dense, "d_b": shift}}
    path = saved(tmp_path / "m.h5", {"class_name": "Sequential", "config": layers}, held, "1.2.2")
    x = rng.normal(size=(2, 7, 5, 3)).astype("f4")
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 2), axis=(1, 2))[:, ::2]
    hidden = (np.einsum("nhwcij,ijco->nhwo", windows, kernel) + bias).max((1, 2))
    wanted = np.clip(0.2 * (hidden @ dense + shift) + 0.5, 0, 1)
    np.testing.assert_allclose(run(path, x)[0], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_keras1_recurrent(kind: str, tmp_path: Path, rng: np.random.Generator) -> None:
    gates = "icfo" if kind == "LSTM" else "zrh"
    w = {g: rng.normal(size=(3, 2)).astype("f4") for g in gates}
    u = {g: rng.normal(size=(2, 2)).astype("f4") for g in gates}
    b = {g: rng.normal(size=2).astype("f4") for g in gates}
    held = {f"r_{n}_{g}": d[g] for g in gates for n, d in (("W", w), ("U", u), ("b", b))}
    config = {"output_dim": 2, "activation": "tanh", "inner_activation": "hard_sigmoid", "return_sequences": False}
    layers = [layer(kind, "r", batch_input_shape=[None, 5, 3], **config)]
    path = saved(tmp_path / "m.h5", {"class_name": "Sequential", "config": layers}, {"r": held}, "1.1.0")
    x = rng.normal(size=(4, 5, 3)).astype("f4")
    h = c = np.zeros((4, 2), "f4")
    for t in range(5):
        s = {g: x[:, t] @ w[g] + b[g] for g in gates}
        hard = {g: np.clip(0.2 * (s[g] + h @ u[g]) + 0.5, 0, 1) for g in gates}
        if kind == "LSTM":
            c = hard["f"] * c + hard["i"] * np.tanh(s["c"] + h @ u["c"])
            h = hard["o"] * np.tanh(c)
        else:
            h = hard["z"] * h + (1 - hard["z"]) * np.tanh(s["h"] + (hard["r"] * h) @ u["h"])
    np.testing.assert_allclose(run(path, x)[0], h, rtol=1e-4, atol=1e-5)


def test_keras1_theano_order_is_refused(tmp_path: Path) -> None:
    conv = {"nb_filter": 2, "nb_row": 3, "nb_col": 3, "dim_ordering": "th", "batch_input_shape": [None, 1, 5, 5]}
    held = {"c": {"c_W": np.ones((2, 1, 3, 3), "f4"), "c_b": np.ones(2, "f4")}}
    model = {"class_name": "Sequential", "config": [layer("Convolution2D", "c", **conv)]}
    with pytest.raises(UnsupportedOp, match="flipped"):
        FORMAT.read(saved(tmp_path / "m.h5", model, held, "1.2.0"), ReadOptions())


def test_theano_backend_is_refused(tmp_path: Path) -> None:
    conv = {"filters": 2, "kernel_size": [3, 3], "batch_input_shape": [None, 5, 5, 1]}
    held = {"c": {"c/kernel:0": np.ones((3, 3, 1, 2), "f4"), "c/bias:0": np.ones(2, "f4")}}
    model = {"class_name": "Sequential", "config": [layer("Conv2D", "c", **conv)]}
    with pytest.raises(UnsupportedOp, match="Theano"):
        FORMAT.read(saved(tmp_path / "m.h5", model, held, "2.1.0", backend="theano"), ReadOptions())


def test_nested_model_counts_calls_from_one(tmp_path: Path, rng: np.random.Generator) -> None:
    """Keras 2 counts a nested model's construction as its call 0."""
    kernel, head = rng.normal(size=(3, 5)).astype("f4"), rng.normal(size=(5, 2)).astype("f4")
    inner = functional(
        [source(3, name="i"), layer("Dense", "k", [[["i", 0, 0, {}]]], units=5, use_bias=False)],
        *([["i", 0, 0]], [["k", 0, 0]], "body"),
    )
    body = {**inner, "name": "body", "inbound_nodes": [[["a", 0, 0, {}]], [["b", 0, 0, {}]]]}
    layers = [
        *(source(3, name="a"), source(3, name="b"), body),
        layer("Subtract", "s", [[["body", 1, 0, {}], ["body", 2, 0, {}]]]),
        layer("Dense", "h", [[["s", 0, 0, {}]]], units=2, use_bias=False),
    ]
    model = functional(layers, [["a", 0, 0], ["b", 0, 0]], [["h", 0, 0], ["body", 1, 0]])
    held = {"body": {"k/kernel:0": kernel}, "h": {"h/kernel:0": head}}
    a, b = rng.normal(size=(2, 4, 3)).astype("f4")
    got = run(saved(tmp_path / "m.h5", model, held, "2.4.0"), a, b)
    np.testing.assert_allclose(got[0], (a @ kernel - b @ kernel) @ head, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got[1], a @ kernel, rtol=1e-4, atol=1e-5)


def test_frozen_inner_layer_comes_last(tmp_path: Path, rng: np.random.Generator) -> None:
    """Weights of a nested model: all trainable ones first, then the frozen ones; two of equal shape."""
    first, second = rng.normal(size=(2, 3, 3)).astype("f4")
    layers = [
        layer("Dense", "p", units=3, use_bias=False, trainable=False, batch_input_shape=[None, 3]),
        layer("Dense", "q", units=3, use_bias=False, activation="tanh"),
    ]
    body = {"class_name": "Sequential", "config": {"name": "body", "layers": layers}}
    model = {"class_name": "Sequential", "config": {"name": "m", "layers": [body]}}
    held = {"body": {"q/kernel:0": second, "p/kernel:0": first}}
    x = rng.normal(size=(4, 3)).astype("f4")
    got = run(saved(tmp_path / "m.h5", model, held, "2.4.0"), x)
    np.testing.assert_allclose(got[0], np.tanh(x @ first @ second), rtol=1e-4, atol=1e-5)
    swapped = {"body": {"p/kernel:0": first, "q/kernel:0": second}}
    with pytest.raises(BadModel, match="stands where"):
        FORMAT.read(saved(tmp_path / "m.h5", model, swapped, "2.4.0"), ReadOptions())


def test_tensorflow_functions(tmp_path: Path, rng: np.random.Generator) -> None:
    def tf(name: str, function: str, inbound: list[Any]) -> dict[str, Any]:
        return layer("TFOpLambda", name, inbound, function=function)

    part = {"slice_spec": [{"start": None, "stop": None, "step": None}, {"start": 1, "stop": 6, "step": 2}]}
    layers = [
        source(7, 5),
        tf("add", "__operators__.add", [["x", 0, 0, {"y": 1.5, "name": None}]]),
        tf("mul", "math.multiply", [["add", 0, 0, {"y": ["x", 0, 0], "name": None}]]),
        layer("SlicingOpLambda", "cut", [["mul", 0, 0, part]], function="__operators__.getitem"),
        tf("mean", "math.reduce_mean", [["cut", 0, 0, {"axis": 1, "keepdims": True}]]),
        tf("join", "concat", [[["cut", 0, 0, {"axis": 1}], ["mean", 0, 0, {"axis": 1}]]]),
        tf("gelu", "nn.gelu", [["join", 0, 0, {}]]),
        tf("clip", "clip_by_value", [["gelu", 0, 0, {"clip_value_min": -0.1, "clip_value_max": 2.0}]]),
        tf("norm", "math.l2_normalize", [["x", 0, 0, {"axis": -1}]]),
    ]
    model = functional(layers, [["x", 0, 0]], [["clip", 0, 0], ["norm", 0, 0]])
    x = rng.normal(size=(3, 7, 5)).astype("f4")
    cut = ((x + 1.5) * x)[:, 1:6:2]
    join = np.concatenate([cut, cut.mean(1, keepdims=True)], 1)
    from math import erf

    wanted = np.clip(join * 0.5 * (1 + np.vectorize(erf)(join / np.sqrt(2))), -0.1, 2.0)
    got = run(saved(tmp_path / "m.h5", model, {}, "2.9.0"), x)
    np.testing.assert_allclose(got[0], wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got[1], x / np.linalg.norm(x, axis=-1, keepdims=True), rtol=1e-4, atol=1e-5)


def test_tensorflow_means_of_integers_are_refused(tmp_path: Path) -> None:
    """They are integers, where those of Keras are fractions."""
    layers = [
        source(7, 5),
        layer("TFOpLambda", "whole", [["x", 0, 0, {"dtype": "int32"}]], function="cast"),
        layer("TFOpLambda", "mean", [["whole", 0, 0, {"axis": 1}]], function="math.reduce_mean"),
    ]
    path = saved(tmp_path / "m.h5", functional(layers, [["x", 0, 0]], [["mean", 0, 0]]), {}, "2.9.0")
    with pytest.raises(UnsupportedOp, match="whole numbers"):
        FORMAT.read(path, ReadOptions())


def test_cudnn_lstm(tmp_path: Path, rng: np.random.Generator) -> None:
    """Each gate's matrix lies transposed in memory, and there are two biases."""
    kernels, recurrent = rng.normal(size=(4, 3, 2)).astype("f4"), rng.normal(size=(4, 2, 2)).astype("f4")
    bias = rng.normal(size=(2, 4, 2)).astype("f4")
    stored = np.concatenate([k.T.reshape(3, 2) for k in kernels], 1)
    held = {"r/kernel:0": stored, "r/recurrent_kernel:0": np.concatenate([k.T for k in recurrent], 1)}
    held["r/bias:0"] = bias.reshape(-1)
    layers = [layer("CuDNNLSTM", "r", units=2, batch_input_shape=[None, 5, 3], return_sequences=True)]
    model = {"class_name": "Sequential", "config": {"name": "m", "layers": layers}}
    x = rng.normal(size=(4, 5, 3)).astype("f4")
    h = c = np.zeros((4, 2), "f4")
    steps = []
    for t in range(5):
        i, f, g, o = (x[:, t] @ k + h @ r + p for k, r, p in zip(kernels, recurrent, bias.sum(0), strict=True))
        i, f, o = (1 / (1 + np.exp(-v)) for v in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        steps.append(h)
    got = run(saved(tmp_path / "m.h5", model, {"r": held}, "2.2.4"), x)
    np.testing.assert_allclose(got[0], np.stack(steps, 1), rtol=1e-4, atol=1e-5)


def test_mask_before_a_recurrent_layer_is_refused(tmp_path: Path) -> None:
    layers = [
        layer("Masking", "k", mask_value=0.0, batch_input_shape=[None, 5, 3]),
        layer("LSTM", "r", units=2, activation="tanh", recurrent_activation="sigmoid"),
    ]
    held = {"r/kernel:0": np.ones((3, 8), "f4"), "r/recurrent_kernel:0": np.ones((2, 8), "f4")}
    model = {"class_name": "Sequential", "config": {"name": "m", "layers": layers}}
    path = saved(tmp_path / "m.h5", model, {"r": {**held, "r/bias:0": np.ones(8, "f4")}}, "2.4.0")
    with pytest.raises(UnsupportedOp, match="mask"):
        FORMAT.read(path, ReadOptions())


def test_input_shapes_can_be_fixed(tmp_path: Path) -> None:
    model = functional([source(None, 3), layer("ReLU", "r", [[["x", 0, 0, {}]]])], [["x", 0, 0]], [["r", 0, 0]])
    path = saved(tmp_path / "m.h5", model, {}, "2.4.0")
    read = FORMAT.read(path, ReadOptions(inputs={"x": (1, 11, 3)}))
    assert [list(v.shape) for v in read.graph.outputs] == [[1, 11, 3]]
