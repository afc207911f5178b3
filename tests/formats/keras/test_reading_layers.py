"""Every layer: a Keras model with random weights, saved as .keras and .h5, read, run in ONNX Runtime, against Keras."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recast.errors import RecastError, UnsupportedType
from recast.formats._format import ReadOptions
from recast.formats.keras.read import read
from recast.graph.finding import attached
from tests.formats.keras.reading_judge import agree, converted, randomise

keras = pytest.importorskip("keras", exc_type=ImportError)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from keras import layers as L

IMAGE, SIGNAL, VOLUME, VECTOR = (13, 11, 5), (17, 5), (7, 5, 11, 3), (7,)

# id → (shape of the input without the batch, what makes the layers)
CASES: dict[str, tuple[tuple[int, ...], Callable[[], Any]]] = {
    "dense-rank2": (VECTOR, lambda: L.Dense(5, "relu")),
    "dense-rank3": (SIGNAL, lambda: L.Dense(3, "tanh")),
    "dense-no-bias": (VECTOR, lambda: L.Dense(5, use_bias=False)),
    "einsum-dense": (SIGNAL, lambda: L.EinsumDense("abc,cd->abd", (None, 7), bias_axes="d")),
    "einsum-dense-odd": (SIGNAL, lambda: L.EinsumDense("abc,cd->adb", (3, 17), bias_axes="d")),
    "conv1d-valid": (SIGNAL, lambda: L.Conv1D(7, 3)),
    "conv1d-same-stride": (SIGNAL, lambda: L.Conv1D(7, 4, 3, padding="same")),
    "conv1d-causal": (SIGNAL, lambda: L.Conv1D(7, 3, padding="causal", dilation_rate=2)),
    "conv2d-valid": (IMAGE, lambda: L.Conv2D(7, (3, 2), (2, 1), activation="relu")),
    "conv2d-same-even": (IMAGE, lambda: L.Conv2D(7, (4, 3), 2, padding="same")),
    "conv2d-same-1x1-stride3": (IMAGE, lambda: L.Conv2D(7, 1, 3, padding="same")),
    "conv2d-dilated-same": (IMAGE, lambda: L.Conv2D(7, (3, 4), padding="same", dilation_rate=2)),
    "conv2d-dilated-valid": (IMAGE, lambda: L.Conv2D(7, 3, dilation_rate=(2, 3))),
    "conv2d-groups": ((13, 11, 6), lambda: L.Conv2D(9, 3, groups=3)),
    "conv3d-same": (VOLUME, lambda: L.Conv3D(5, (2, 3, 3), (1, 2, 3), padding="same")),
    "depthwise1d-same": (SIGNAL, lambda: L.DepthwiseConv1D(4, 2, padding="same", depth_multiplier=2)),
    "depthwise2d-valid": (IMAGE, lambda: L.DepthwiseConv2D((3, 2), depth_multiplier=3)),
    "depthwise2d-same-stride": (IMAGE, lambda: L.DepthwiseConv2D(3, 2, padding="same", use_bias=False)),
    "separable1d": (SIGNAL, lambda: L.SeparableConv1D(7, 3, padding="same", depth_multiplier=2)),
    "separable2d": (IMAGE, lambda: L.SeparableConv2D(7, (3, 4), 2, padding="same", activation="elu")),
    "conv1d-transpose-same": (SIGNAL, lambda: L.Conv1DTranspose(3, 4, 3, padding="same")),
    "conv2d-transpose-same": (IMAGE, lambda: L.Conv2DTranspose(3, (3, 4), 2, padding="same")),
    "conv2d-transpose-same-small": (IMAGE, lambda: L.Conv2DTranspose(3, 2, 3, padding="same")),
    "conv2d-transpose-valid": (IMAGE, lambda: L.Conv2DTranspose(3, (5, 2), (2, 3), padding="valid")),
    "conv2d-transpose-valid-small": (IMAGE, lambda: L.Conv2DTranspose(3, 1, 3)),
    "conv2d-transpose-output-padding": (IMAGE, lambda: L.Conv2DTranspose(3, 3, 2, padding="same", output_padding=1)),
    "conv2d-transpose-output-padding0": (IMAGE, lambda: L.Conv2DTranspose(3, 3, 2, padding="same", output_padding=0)),
    "conv2d-transpose-valid-padding": (IMAGE, lambda: L.Conv2DTranspose(3, 3, 2, output_padding=1)),
    "conv3d-transpose": (VOLUME, lambda: L.Conv3DTranspose(3, 3, 2, padding="same")),
    "pool-flatten-channels-first": (
        (5, 13, 11),
        lambda: [L.AveragePooling2D(3, data_format="channels_first"), L.Flatten(data_format="channels_first")],
    ),
    "pad-crop-up-channels-first": (
        (5, 13, 11),
        lambda: [
            L.ZeroPadding2D((1, 2), data_format="channels_first"),
            L.Cropping2D((2, 1), data_format="channels_first"),
            L.UpSampling2D((2, 3), data_format="channels_first"),
            L.BatchNormalization(axis=1),
            L.GlobalAveragePooling2D(data_format="channels_first"),
        ],
    ),
    "grouped-attention-projection": (SIGNAL, lambda: L.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de")),
    "maxpool1d": (SIGNAL, lambda: L.MaxPooling1D(3, 2, padding="same")),
    "maxpool2d-same": (IMAGE, lambda: L.MaxPooling2D((3, 2), 2, padding="same")),
    "maxpool2d-valid": (IMAGE, lambda: L.MaxPooling2D(3)),
    "maxpool3d": (VOLUME, lambda: L.MaxPooling3D(2, padding="same")),
    "avgpool1d": (SIGNAL, lambda: L.AveragePooling1D(4, 3, padding="same")),
    "avgpool2d-same": (IMAGE, lambda: L.AveragePooling2D((3, 4), 2, padding="same")),
    "avgpool2d-valid": (IMAGE, lambda: L.AveragePooling2D((2, 3), (1, 2))),
    "avgpool3d": (VOLUME, lambda: L.AveragePooling3D((2, 3, 2), padding="same")),
    "globalavg1d": (SIGNAL, lambda: L.GlobalAveragePooling1D()),
    "globalavg2d-keepdims": (IMAGE, lambda: L.GlobalAveragePooling2D(keepdims=True)),
    "globalmax2d": (IMAGE, lambda: L.GlobalMaxPooling2D()),
    "globalmax3d": (VOLUME, lambda: L.GlobalMaxPooling3D()),
    "globalavg3d": (VOLUME, lambda: L.GlobalAveragePooling3D()),
    "batchnorm-image": (IMAGE, lambda: L.BatchNormalization()),
    "batchnorm-vector": (VECTOR, lambda: L.BatchNormalization(epsilon=0.01)),
    "batchnorm-no-scale": (IMAGE, lambda: L.BatchNormalization(scale=False)),
    "batchnorm-no-center": (SIGNAL, lambda: L.BatchNormalization(center=False)),
    "batchnorm-axis1": (IMAGE, lambda: L.BatchNormalization(axis=1)),
    "batchnorm-axis2": (IMAGE, lambda: L.BatchNormalization(axis=2)),
    "layernorm": (SIGNAL, lambda: L.LayerNormalization(epsilon=1e-5)),
    "layernorm-axes": (IMAGE, lambda: L.LayerNormalization(axis=[2, 3])),
    "layernorm-axis1": (IMAGE, lambda: L.LayerNormalization(axis=1)),
    "layernorm-no-scale": (SIGNAL, lambda: L.LayerNormalization(scale=False, center=False)),
    "rmsnorm": (SIGNAL, lambda: L.RMSNormalization()),
    "groupnorm": ((13, 11, 6), lambda: L.GroupNormalization(3)),
    "groupnorm-instance": (IMAGE, lambda: L.GroupNormalization(-1, scale=False)),
    "unitnorm": (SIGNAL, lambda: L.UnitNormalization()),
    "unitnorm-axis1": (SIGNAL, lambda: L.UnitNormalization(axis=1)),
    "normalization": (VECTOR, lambda: L.Normalization()),
    "normalization-given": (VECTOR, lambda: L.Normalization(mean=[0.5] * 7, variance=[2.0] * 7)),
    "normalization-invert": (VECTOR, lambda: L.Normalization(mean=0.3, variance=1.7, invert=True)),
    "rescaling": (IMAGE, lambda: L.Rescaling(1 / 127.5, -1.0)),
    "relu-max-slope": (VECTOR, lambda: L.ReLU(6.0, 0.1, 0.0)),
    "relu-threshold": (VECTOR, lambda: L.ReLU(1.5, 0.1, 0.25)),
    "relu6": (VECTOR, lambda: L.ReLU(6.0)),
    "leaky-relu": (VECTOR, lambda: L.LeakyReLU(0.17)),
    "prelu-shared": (IMAGE, lambda: L.PReLU(shared_axes=[1, 2])),
    "prelu": (SIGNAL, lambda: L.PReLU()),
    "elu": (VECTOR, lambda: L.ELU(0.7)),
    "softmax-axis": (SIGNAL, lambda: L.Softmax(axis=1)),
    "softmax-axes": (IMAGE, lambda: L.Softmax(axis=(1, 2))),
    "zeropad1d": (SIGNAL, lambda: L.ZeroPadding1D((2, 1))),
    "zeropad2d": (IMAGE, lambda: L.ZeroPadding2D(((1, 2), (3, 0)))),
    "zeropad3d": (VOLUME, lambda: L.ZeroPadding3D((1, 2, 3))),
    "cropping1d": (SIGNAL, lambda: L.Cropping1D((2, 0))),
    "cropping2d": (IMAGE, lambda: L.Cropping2D(((1, 2), (3, 0)))),
    "cropping3d": (VOLUME, lambda: L.Cropping3D(((1, 0), (0, 2), (2, 1)))),
    "upsampling1d": (SIGNAL, lambda: L.UpSampling1D(3)),
    "upsampling2d-nearest": (IMAGE, lambda: L.UpSampling2D((2, 3))),
    "upsampling2d-bilinear": (IMAGE, lambda: L.UpSampling2D((2, 3), interpolation="bilinear")),
    "upsampling3d": (VOLUME, lambda: L.UpSampling3D((2, 1, 3))),
    "resizing-bilinear": (IMAGE, lambda: L.Resizing(17, 7)),
    "resizing-nearest": (IMAGE, lambda: L.Resizing(7, 19, interpolation="nearest")),
    "centercrop": (IMAGE, lambda: L.CenterCrop(8, 7)),
    "flatten": (IMAGE, lambda: L.Flatten()),
    "reshape": (IMAGE, lambda: L.Reshape((-1, 5, 11))),
    "permute": (IMAGE, lambda: L.Permute((3, 1, 2))),
    "repeatvector": (VECTOR, lambda: L.RepeatVector(3)),
    "dropout": (VECTOR, lambda: [L.Dropout(0.3), L.GaussianNoise(0.2), L.AlphaDropout(0.1), L.GaussianDropout(0.2)]),
    "spatial-dropout": (IMAGE, lambda: [L.SpatialDropout2D(0.3), L.ActivityRegularization(0.1), L.Identity()]),
    "augmentation": (IMAGE, lambda: [L.RandomFlip(), L.RandomRotation(0.1), L.Conv2D(3, 3)]),
    "simplernn": (SIGNAL, lambda: L.SimpleRNN(3)),
    "simplernn-relu": (SIGNAL, lambda: L.SimpleRNN(3, "relu", return_sequences=True, use_bias=False)),
    "lstm": (SIGNAL, lambda: L.LSTM(3)),
    "lstm-sequences": (SIGNAL, lambda: L.LSTM(3, return_sequences=True)),
    "lstm-hard-sigmoid": (SIGNAL, lambda: L.LSTM(3, recurrent_activation="hard_sigmoid", activation="softsign")),
    "lstm-backwards": (SIGNAL, lambda: L.LSTM(3, return_sequences=True, go_backwards=True)),
    "gru": (SIGNAL, lambda: L.GRU(3)),
    "gru-reset-before": (SIGNAL, lambda: L.GRU(3, reset_after=False, return_sequences=True)),
    "gru-linear": (SIGNAL, lambda: L.GRU(3, activation="linear", use_bias=False)),
    "rnn-cells": (SIGNAL, lambda: L.RNN([L.LSTMCell(3), L.GRUCell(7), L.LSTMCell(2)], return_sequences=True)),
    "rnn-cell": (SIGNAL, lambda: L.RNN(L.SimpleRNNCell(3))),
    "bidirectional-concat": (SIGNAL, lambda: L.Bidirectional(L.LSTM(3, return_sequences=True))),
    "bidirectional-last": (SIGNAL, lambda: L.Bidirectional(L.GRU(3))),
    "bidirectional-sum": (SIGNAL, lambda: L.Bidirectional(L.LSTM(3, return_sequences=True), merge_mode="sum")),
    "bidirectional-ave": (SIGNAL, lambda: L.Bidirectional(L.SimpleRNN(3), merge_mode="ave")),
    "bidirectional-different": (
        SIGNAL,
        lambda: L.Bidirectional(L.LSTM(3), backward_layer=L.LSTM(3, "relu", go_backwards=True)),
    ),
    "timedistributed-dense": (IMAGE, lambda: L.TimeDistributed(L.Dense(3))),
    "timedistributed-conv": ((3, 7, 5, 2), lambda: L.TimeDistributed(L.Conv2D(3, 2, activation="relu"))),
    "timedistributed-batchnorm": (SIGNAL, lambda: L.TimeDistributed(L.BatchNormalization())),
    "timedistributed-model": (
        (3, 7, 5, 2),
        lambda: L.TimeDistributed(keras.Sequential([L.Conv2D(3, 2), L.BatchNormalization(), L.Flatten(), L.Dense(2)])),
    ),
}
_ACTIVATIONS = """relu relu6 leaky_relu elu celu selu softplus softsign tanh sigmoid exponential hard_sigmoid silu swish
hard_silu gelu mish softmax log_softmax log_sigmoid hard_tanh hard_shrink soft_shrink tanh_shrink squareplus linear"""
for _name in _ACTIVATIONS.split():
    CASES[f"activation-{_name}"] = (VECTOR, lambda name=_name: L.Activation(name))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore")
def test_layer(case: str, tmp_path: Path, rng: np.random.Generator) -> None:
    shape, make = CASES[case]
    made = make()
    model = keras.Sequential([keras.Input(shape), *(made if isinstance(made, list) else [made])])
    randomise(model, rng)
    agree(model, [rng.normal(0, 1.5, (3, *shape)).astype(np.float32)], tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_conv_channels_first(tmp_path: Path, rng: np.random.Generator) -> None:
    """TensorFlow's CPU kernels have no channels_first: the same weights in channels_last are the judge."""
    first, last = (
        keras.Sequential([keras.Input(shape), L.Conv2D(7, 3, 2, padding="same", data_format=layout)])
        for shape, layout in (((5, 13, 11), "channels_first"), ((13, 11, 5), "channels_last"))
    )
    randomise(first, rng)
    last.set_weights(first.get_weights())
    x = rng.normal(size=(3, 5, 13, 11)).astype(np.float32)
    wanted = np.asarray(last(x.transpose(0, 2, 3, 1))).transpose(0, 3, 1, 2)
    first.save(tmp_path / "m.keras")
    np.testing.assert_allclose(converted(tmp_path / "m.keras", [x])[0], wanted, rtol=2e-4, atol=2e-5)


@pytest.mark.filterwarnings("ignore")
def test_relu_at_its_threshold_and_at_infinity(tmp_path: Path) -> None:
    """What equals the threshold becomes 0, and nothing is multiplied by 0."""
    model = keras.Sequential([keras.Input((5,)), L.ReLU(threshold=0.25)])
    agree(model, [np.array([[0.25, np.nextafter(np.float32(0.25), 1), -np.inf, np.inf, 0.0]], np.float32)], tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_mixed_precision_is_computed_in_float32_and_said(tmp_path: Path, rng: np.random.Generator) -> None:
    model = keras.Sequential([keras.Input((7,)), L.Dense(5, "relu", dtype="mixed_float16"), L.Dense(3)])
    randomise(model, rng)
    model.save(tmp_path / "m.keras")
    read_model = read(tmp_path / "m.keras", ReadOptions())
    assert any("mixed precision" in f.what for f in attached(read_model))
    x = rng.normal(size=(3, 7)).astype(np.float32)
    np.testing.assert_allclose(converted(tmp_path / "m.keras", [x])[0], np.asarray(model(x)), rtol=0.02, atol=0.02)


@pytest.mark.filterwarnings("ignore")
def test_other_precisions_are_refused(tmp_path: Path) -> None:
    keras.Sequential([keras.Input((7,)), L.Dense(5, dtype="bfloat16")]).save(tmp_path / "m.keras")
    with pytest.raises(UnsupportedType, match="bfloat16"):
        read(tmp_path / "m.keras", ReadOptions())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("policy", "tolerance"), [("float16", 1e-2), ("float64", 1e-11)])
def test_halves_and_doubles_are_computed_as_such(
    policy: str, tolerance: float, tmp_path: Path, rng: np.random.Generator
) -> None:
    """Each layer's inputs are cast to its own type: float32 goes in, ``policy`` comes out."""
    layers = [L.Dense(5, dtype=policy), L.Rescaling(0.3, 0.1, dtype=policy), L.Softmax(1, dtype=policy)]
    model = keras.Sequential([keras.Input((11, 7)), *layers, L.Dense(3, "relu", dtype=policy)])
    for weight in model.variables:
        weight.assign(rng.normal(0, 0.5, weight.shape))
    model.save(tmp_path / "m.keras")
    x = rng.normal(size=(3, 11, 7)).astype(np.float32)
    found = converted(tmp_path / "m.keras", [x])[0]
    assert found.dtype == policy
    np.testing.assert_allclose(found, np.asarray(model(x)), rtol=tolerance, atol=tolerance)


@pytest.mark.filterwarnings("ignore")
def test_quantised_layers_are_refused(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((7,)), L.Dense(5)])
    model.quantize("int8")
    model.save(tmp_path / "m.keras")
    with pytest.raises(RecastError):
        read(tmp_path / "m.keras", ReadOptions())
