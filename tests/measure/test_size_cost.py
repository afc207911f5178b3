"""Bytes, weights and multiply-accumulates against hand counts and published figures."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from recast import load
from recast.graph.build import Builder
from recast.measure import cost, size
from tests.measure.nets import FLOAT, MIXED_MACS, dense_net, mixed_net, written


def test_macs_of_every_kind_of_convolution(rng: np.random.Generator) -> None:
    found = cost.of(mixed_net(rng))
    assert {line.name: line.macs for line in found.layers if line.macs} == MIXED_MACS
    assert found.macs == sum(MIXED_MACS.values())
    assert not found.unknown


def test_macs_grow_with_the_sizes_of_named_dimensions(rng: np.random.Generator) -> None:
    model = mixed_net(rng)
    assert cost.of(model, {"batch": 3}).macs == 3 * cost.of(model).macs


def test_macs_of_products_and_recurrence(rng: np.random.Generator) -> None:
    b = Builder("net")
    a, c = b.input("a", FLOAT, (2, 5, 7)), b.input("c", FLOAT, (2, 7, 11))
    b.output(b.op("MatMul", [a, c]), "product")
    w, r = (rng.standard_normal((1, 4 * 3, n)).astype(np.float32) for n in (5, 3))
    x = b.input("s", FLOAT, (13, 2, 5))
    y = b.node("LSTM", [x, b.weight("w", w), b.weight("r", r)], {"hidden_size": 3}, 3)
    b.output(y[0], "states")
    assert cost.of(b.model()).macs == 2 * 5 * 7 * 11 + 13 * 2 * (12 * 5 + 12 * 3)


def test_macs_of_grouped_transposed_convolution_and_turned_product(rng: np.random.Generator) -> None:
    """Each input pixel meets k/group kernels of its own group; ``transA`` turns the first matrix."""
    b = Builder("net")
    x, a = b.input("x", FLOAT, (1, 6, 5, 7)), b.input("a", FLOAT, (11, 13))
    w = b.weight("w", rng.standard_normal((6, 5, 3, 2)).astype(np.float32))  # 2 groups: 6 -> 10 channels
    b.output(b.op("ConvTranspose", [x, w], {"group": 2}), "image")
    v = b.weight("v", rng.standard_normal((11, 17)).astype(np.float32))
    b.output(b.op("Gemm", [a, v], {"transA": 1}), "product")
    assert cost.of(b.model()).macs == 6 * 5 * 7 * 5 * 3 * 2 + 13 * 17 * 11


def test_parameters_do_not_count_what_is_no_weight(rng: np.random.Generator) -> None:
    found = size.parameters(mixed_net(rng))
    count = 450 + 10 + 630 + 126 + 336 + 7 * 504 + 7
    assert (found.total, found.bytes) == (count, 4 * count)


def test_zeros_of_quantised_weights_are_at_their_zero_points() -> None:
    b = Builder("net")
    x = b.input("x", FLOAT, ("batch", 3))
    w = b.weight("w", np.array([[7, 7, 1], [0, 5, 5]], np.int8).T.copy())  # (3, 2), zero points 7 and 5
    scale, zero = b.weight("s", np.array([0.5, 2], np.float32)), b.weight("z", np.array([7, 5], np.int8))
    b.output(b.op("MatMul", [x, b.op("DequantizeLinear", [w, scale, zero], {"axis": 1})]), "y")
    found = size.parameters(b.model())
    assert (found.total, found.nonzero, found.bytes) == (6, 2, 6 + 8 + 2)


@pytest.mark.parametrize(
    ("file", "macs", "parameters"),
    [
        ("ic-resnet8-cifar10/pretrainedResnet.tflite", 12_501_632, 77_706),  # MLPerf Tiny: 12.5 M
        ("ic-resnet8-cifar10/pretrainedResnet_quant.tflite", 12_501_632, 77_706),
        ("vww-mobilenet/vww_96_float.tflite", 7_489_664, None),  # MLPerf Tiny: 7.5 M
        ("kws-dscnn/kws_ref_model.tflite", 2_656_768, None),  # MLPerf Tiny: 2.7 M
        ("ad-autoencoder/ad01_fp32.tflite", 264_192, None),  # 640·128 + 6·128² + 2·128·8 + 128·640
        ("ic-resnet8-cifar10/pretrainedResnet.h5", None, 78_666),  # Keras: count_params()
        ("ad-autoencoder/ad01.h5", None, 269_992),
    ],
)
def test_published_figures(file: str, macs: int | None, parameters: int | None, shared_models: Path) -> None:
    model = load(shared_models / file)
    assert macs is None or cost.of(model).macs == macs
    assert parameters is None or size.parameters(model).total == parameters


def test_bytes_are_those_of_all_files(tmp_path: Path, rng: np.random.Generator) -> None:
    weights = rng.standard_normal((211, 307)).astype(np.float32)
    weights[:100] = 0
    model = dense_net(weights, np.zeros(307, np.float32))
    script = written(model, tmp_path / "net.py")
    held = [script, tmp_path / "net.safetensors"]
    found = size.of(script, model)
    assert found.file_bytes == sum(f.stat().st_size for f in held)
    assert found.weight_bytes == (211 * 307 + 307) * 4
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in held:
            archive.write(file, file.name)
    assert found.zipped_bytes == pytest.approx(len(packed.getvalue()), abs=500)  # names and directory


def test_external_data_counts(tmp_path: Path, rng: np.random.Generator) -> None:
    model = dense_net(rng.standard_normal((53, 59)).astype(np.float32), np.zeros(59, np.float32))
    path = tmp_path / "net.onnx"
    ir.save(model, path, external_data="net.data", size_threshold_bytes=0)
    (tmp_path / "other.data").write_bytes(b"not ours")
    found = size.of(path, load(path))
    assert found.file_bytes == path.stat().st_size + (tmp_path / "net.data").stat().st_size
