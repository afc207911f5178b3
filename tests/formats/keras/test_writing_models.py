"""The Keras writer on whole graphs: structure, names, recurrent layers, quantised graphs, refusals, real models."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from recast.errors import UnsupportedOp
from recast.formats._format import WriteOptions
from recast.formats.keras.write import write
from recast.graph.build import Builder
from tests.formats.keras.keras_judge import channels_last, check, image, run_keras, run_onnx

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


def small_cnn(rng: np.random.Generator) -> ir.Model:
    """Two branches, shared names, every kind of merging of nodes into layers."""
    b = Builder("small cnn")
    x = b.input("image", FLOAT, ("batch", 19, 23, 3))
    with b.layer("stem/conv.1", "Conv2D"):
        k, bias = b.weight("k", draw(rng, 7, 3, 3, 3)), b.weight("b", draw(rng, 7))
        y = image(b, "Conv", [x, k, bias], strides=[2, 2], auto_pad="SAME_UPPER")
    with b.layer("stem/bn", "BatchNormalization"):
        parts = [b.weight(n, np.abs(draw(rng, 7)) + np.float32(0.3)) for n in "gbmv"]
        y = image(b, "BatchNormalization", [y, *parts], epsilon=1e-3)
    with b.layer("stem/relu", "ReLU"):
        y = b.op("Relu", [y])
    with b.layer("pool", "MaxPooling2D"):
        y = image(b, "MaxPool", [y], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    with b.layer("dw", "DepthwiseConv2D"):
        z = image(b, "Conv", [y, b.weight("dk", draw(rng, 14, 1, 3, 3))], group=7, pads=[1, 1, 1, 1])
        z = b.op("Relu", [z])
    with b.layer("pw", "Conv2D"):
        z = image(b, "Conv", [z, b.weight("pk", draw(rng, 7, 14, 1, 1))])
    with b.layer("add", "Add"):
        y = b.op("Add", [y, z])
    with b.layer("gap", "GlobalAveragePooling2D"):
        y = b.op("Squeeze", [image(b, "GlobalAveragePool", [y]), b.const([1, 2])])
    with b.layer("drop", "Dropout"):
        y = b.op("Dropout", [y, b.const(0.3)])
    with b.layer("fc", "Dense"):
        y = b.op("Gemm", [y, b.weight("fk", draw(rng, 7, 11)), b.weight("fb", draw(rng, 11))])
        y = b.op("Softmax", [y], {"axis": -1})
    b.output(y, "probs")
    return b.model()


def test_layers_keep_names_and_structure(tmp_path: Path, rng: np.random.Generator) -> None:
    model = small_cnn(rng)
    check(model, {"image": draw(rng, 5, 19, 23, 3)}, tmp_path)
    layers = config_of(tmp_path / "model.keras")
    assert [(layer["class_name"], layer["name"]) for layer in layers] == [
        ("InputLayer", "image"),
        ("Conv2D", "stem_conv_1"),
        ("BatchNormalization", "stem_bn"),
        ("ReLU", "stem_relu"),
        ("ZeroPadding2D", "pool_pad"),
        ("MaxPooling2D", "pool"),
        ("DepthwiseConv2D", "dw"),
        ("Conv2D", "pw"),
        ("Add", "add"),
        ("GlobalAveragePooling2D", "gap"),
        ("Dropout", "drop"),
        ("Dense", "fc"),
    ]
    config = {layer["name"]: layer["config"] for layer in layers}
    assert config["stem_conv_1"]["padding"] == "same"
    assert config["dw"]["activation"] == "relu"
    assert config["dw"]["padding"] == "same"
    assert config["fc"]["activation"] == "softmax"
    assert config["drop"]["rate"] == 0.3
    assert config["image"]["batch_shape"] == [None, 19, 23, 3]


def test_model_trains(tmp_path: Path, rng: np.random.Generator) -> None:
    import keras

    write(channels_last(small_cnn(rng)), tmp_path / "m.keras", WriteOptions())
    model = keras.models.load_model(tmp_path / "m.keras")
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="sparse_categorical_crossentropy")
    x, y = draw(rng, 8, 19, 23, 3), np.arange(8) % 11
    losses = model.fit(x, y, epochs=3, batch_size=8, verbose=0).history["loss"]
    assert len(model.trainable_weights) == 8
    assert len(model.non_trainable_weights) >= 2
    assert losses[-1] != losses[0]


def test_same_model_same_bytes(tmp_path: Path, rng: np.random.Generator) -> None:
    model = channels_last(small_cnn(rng))
    for suffix in (".keras", ".h5"):
        one, other = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
        write(model, one, WriteOptions())
        write(model, other, WriteOptions())
        assert one.read_bytes() == other.read_bytes()


def test_shared_weights_are_one_layer(tmp_path: Path, rng: np.random.Generator) -> None:
    b = Builder("twins")
    left, right = b.input("left", FLOAT, ("batch", 7)), b.input("right", FLOAT, ("batch", 7))
    kernel, bias = b.weight("k", draw(rng, 7, 5)), b.weight("b", draw(rng, 5))
    with b.layer("tower", "Dense"):
        ends = [b.op("Gemm", [x, kernel, bias]) for x in (left, right)]
    with b.layer("difference", "Subtract"):
        b.output(b.op("Sub", ends), "y")
    feeds = {"left": draw(rng, 3, 7), "right": draw(rng, 3, 7)}
    check(b.model(), feeds, tmp_path)
    assert [layer["class_name"] for layer in config_of(tmp_path / "model.keras")].count("Dense") == 1


def test_several_outputs_unused_input_and_passthrough(tmp_path: Path, rng: np.random.Generator) -> None:
    b = Builder("ends")
    x, idle = b.input("x", FLOAT, ("batch", 7)), b.input("idle", FLOAT, ("batch", 3))
    with b.layer("a", "Dense"):
        first = b.op("Gemm", [x, b.weight("k", draw(rng, 7, 5))])
    with b.layer("b", "ReLU"):
        second = b.op("Relu", [first])
    b.output(second, "late")
    b.output(first, "early")
    b.output(idle, "same")
    check(b.model(), {"x": draw(rng, 3, 7), "idle": draw(rng, 3, 3)}, tmp_path)


def test_equal_shaped_branches_get_their_own_weights(tmp_path: Path, rng: np.random.Generator) -> None:
    b = Builder("branches")
    x = b.input("x", FLOAT, ("batch", 5))
    values: list[ir.Value] = []
    for index in range(9):
        y = x
        for depth in range(index % 4 + 1):
            with b.layer(f"d{index}_{depth}", "Dense"):
                y = b.op("Gemm", [y, b.weight("k", draw(rng, 5, 5)), b.weight("b", draw(rng, 5))])
        values.append(y)
    with b.layer("sum", "Add"):
        total = b.op("Sum", [values[i] for i in rng.permutation(9)])
    b.output(total, "total")
    b.output(b.op("Mul", [values[3], values[6]]), "product")
    check(b.model(), {"x": draw(rng, 3, 5)}, tmp_path)


def test_separable_bias_add_and_layer_scale(tmp_path: Path, rng: np.random.Generator) -> None:
    b = Builder("separable")
    x = b.input("x", FLOAT, ("batch", 11, 13, 5))
    with b.layer("separable", "SeparableConv2D"):
        first = b.channels_first(x)
        first = b.op("Conv", [first, b.weight("d", draw(rng, 10, 1, 3, 3))], {"group": 5, "auto_pad": "SAME_UPPER"})
        first = b.op("Conv", [first, b.weight("p", draw(rng, 67, 10, 1, 1)), b.weight("b", draw(rng, 67))])
        y = b.channels_last(first)
    with b.layer("scale", "LayerScale"):
        y = b.op("Mul", [b.weight("gamma", draw(rng, 67)), y])
    with b.layer("plain", "Conv2D"):
        y = image(b, "Conv", [y, b.weight("k", draw(rng, 7, 67, 1, 1))])
        y = b.op("Add", [y, b.weight("b", draw(rng, 1, 1, 1, 7))])
        y = b.op("Sigmoid", [y])
    b.output(y, "y")
    check(b.model(), {"x": draw(rng, 3, 11, 13, 5)}, tmp_path)
    layers = config_of(tmp_path / "model.keras")
    assert [layer["class_name"] for layer in layers] == ["InputLayer", "SeparableConv2D", "EinsumDense", "Conv2D"]
    assert layers[-1]["config"]["activation"] == "sigmoid"


def test_attention_bias_goes_into_dense(tmp_path: Path, rng: np.random.Generator) -> None:
    b = Builder("heads")
    x = b.input("x", FLOAT, ("batch", 7, 5))
    with b.layer("query", "EinsumDense"):
        y = b.op("Reshape", [b.op("MatMul", [x, b.weight("k", draw(rng, 5, 22))]), b.const([0, 0, 2, 11])])
        y = b.op("Add", [y, b.weight("b", draw(rng, 2, 11))])
    b.output(y, "y")
    check(b.model(), {"x": draw(rng, 3, 7, 5)}, tmp_path)
    assert [layer["class_name"] for layer in config_of(tmp_path / "model.keras")] == ["InputLayer", "Dense", "Reshape"]


def test_embedding_and_integer_input(tmp_path: Path, rng: np.random.Generator) -> None:
    b = Builder("tokens")
    ids = b.input("ids", INT64, ("batch", 7))
    with b.layer("tokens", "Embedding"):
        y = b.op("Gather", [b.weight("table", draw(rng, 13, 5)), ids], {"axis": 0})
    with b.layer("positions", "Add"):
        y = b.op("Add", [y, b.weight("position", draw(rng, 1, 7, 5))])
    with b.layer("best", "ArgMax"):
        best = b.op("ArgMax", [y], {"axis": -1, "keepdims": 0})
    b.output(y, "y")
    b.output(best, "best")
    check(b.model(), {"ids": rng.integers(0, 13, (3, 7))}, tmp_path)


def quantized(rng: np.random.Generator, signed: bool) -> ir.Model:
    """int8 in, int8 out, per-channel weights, int32 bias."""
    b = Builder("quantized")
    kind = np.int8 if signed else np.uint8
    x = b.input("x", INT8 if signed else ir.DataType.UINT8, ("batch", 9, 11, 3))
    zero = b.const(np.array(-5 if signed else 117, kind))

    def cycle(value: ir.Value, scale: float) -> ir.Value:
        parts = [b.const(np.float32(scale) + np.zeros((), np.float32)), zero]
        return b.op("DequantizeLinear", [b.op("QuantizeLinear", [value, *parts]), *parts])

    with b.layer("conv", "CONV_2D"):
        y = b.op("DequantizeLinear", [x, b.const(np.array(0.021, np.float32)), zero])
        scales = np.abs(draw(rng, 5)) * np.float32(0.01) + np.float32(0.002)
        w = b.op(
            "DequantizeLinear",
            [b.weight("w", rng.integers(-127, 128, (5, 3, 3, 3), np.int8)), b.weight("s", scales)],
            {"axis": 0},
        )
        bias = b.op(
            "DequantizeLinear",
            [b.weight("b", rng.integers(-900, 900, (5,), np.int32)), b.weight("bs", scales * np.float32(0.021))],
            {"axis": 0},
        )
        y = cycle(b.op("Relu", [image(b, "Conv", [y, w, bias], pads=[1, 1, 1, 1])]), 0.03)
    with b.layer("pool", "MAX_POOL_2D"):
        y = cycle(image(b, "MaxPool", [y], kernel_shape=[2, 2], strides=[2, 2]), 0.03)
    with b.layer("out", "QUANTIZE"):
        b.output(b.op("QuantizeLinear", [y, b.const(np.array(0.04, np.float32)), zero]), "y")
    return b.model()


@pytest.mark.parametrize("signed", [True, False], ids=["int8", "uint8"])
def test_quantized_graph_gives_the_same_integers(signed: bool, tmp_path: Path, rng: np.random.Generator) -> None:
    model = quantized(rng, signed)
    low, high = (-128, 128) if signed else (0, 256)
    feeds = {"x": rng.integers(low, high, (3, 9, 11, 3)).astype(np.int8 if signed else np.uint8)}
    artifacts = check(model, feeds, tmp_path)
    assert "quantised" in artifacts[0].findings[0].what


def test_all_unsupported_are_named_at_once(tmp_path: Path) -> None:
    b = Builder("bad")
    x = b.input("x", FLOAT, ("batch", 7))
    with b.layer("one", "Shrink"):
        y = b.op("Shrink", [x])
    with b.layer("two", "Hardmax"):
        z = b.op("Hardmax", [x])
    b.output(b.op("Add", [y, z]), "y")
    with pytest.raises(UnsupportedOp) as caught:
        write(b.model(), tmp_path / "m.keras", WriteOptions())
    assert "one" in caught.value.where
    assert "two" in caught.value.where
    assert not (tmp_path / "m.keras").exists()


def test_channels_first_graph_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    with pytest.raises(UnsupportedOp, match="Conv"):
        write(small_cnn(rng), tmp_path / "m.keras", WriteOptions())


REAL = {
    "resnet8": "ic-resnet8-cifar10/pretrainedResnet.h5",
    "mobilenet": "vww-mobilenet/vww_96.h5",
    "mini-xception": "mini-xception-keras2/fer2013_mini_XCEPTION.102-0.66.hdf5",
}


@pytest.mark.parametrize("name", REAL)
def test_real_model_round_trip(name: str, shared_models: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    from recast import passes
    from recast.formats._format import ReadOptions
    from recast.formats.keras import FORMAT

    model = FORMAT.read(shared_models / REAL[name], ReadOptions())
    image_input = model.graph.inputs[0]
    shape = [d if isinstance(d, int) else 3 for d in image_input.shape or ()]
    feeds = {str(image_input.name): draw(rng, *shape)}
    wanted = run_onnx(model, feeds)
    options = passes.PassOptions(FORMAT.layout, "keep", None, FORMAT.rnn_batch_major, FORMAT.keep_functions)
    passes.run(model, FORMAT.passes, options)
    for suffix in (".keras", ".h5"):
        path = tmp_path / f"model{suffix}"
        FORMAT.write(model, path, WriteOptions())
        for got, other in zip(run_keras(path, feeds), wanted, strict=True):
            np.testing.assert_allclose(got, other, rtol=0, atol=1e-5 * float(np.abs(other).max()))
    modules = {layer["module"] for layer in config_of(tmp_path / "model.keras")}
    assert modules == {"keras.layers"}
