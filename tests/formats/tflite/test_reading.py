"""Real trained models: LiteRT against the graph in ONNX Runtime, and labelled accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from recast.errors import UnsupportedOp
from recast.formats._format import ReadOptions
from recast.formats.tflite.read import read
from recast.formats.tflite.run import Session
from recast.graph import LAYER
from recast.graph.finding import attached

# file: (what random inputs are, largest difference allowed in parts of the output's range)
FLOAT = {
    "ad-autoencoder/ad01_fp32.tflite": 2e-6,
    "face-slim320-multiformat/version-slim-320_without_postprocessing.tflite": 4e-6,
    "ic-resnet8-cifar10/pretrainedResnet.tflite": 4e-6,
    "mobilenetv1-025-128-imagenet/mobilenet_v1_0_25_128.tflite": 3e-5,
    "mnist-mixed/trained_lstm.tflite": 4e-6,
    "vww-mobilenet/vww_96_float.tflite": 4e-6,
    "kws-dscnn/kws_ref_model_float32.tflite": 1e-2,  # hybrid: LiteRT rounds some inputs to 8 bits
}
# file: (LiteRT's accuracy samples, steps allowed on random inputs)
INTEGER = {
    "ad-autoencoder/ad01_int8.tflite": 2,
    "ic-resnet8-cifar10/pretrainedResnet_quant.tflite": 3,
    "kws-dscnn/kws_ref_model.tflite": 2,
    "vww-mobilenet/vww_96_int8.tflite": 3,
    "mobilenetv1-025-128-imagenet/mobilenet_v1_0.25_128_quant.tflite": 20,  # one step in logits is 8 in softmax
}


def runtime(model: ir.Model) -> ort.InferenceSession:
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.intra_op_num_threads = 1
    return ort.InferenceSession(ir.to_proto(model).SerializeToString(), settings, providers=["CPUExecutionProvider"])


def compare(file: Path, rng: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray], ir.Model]:
    """Outputs of LiteRT and of the graph for a random batch."""
    model, judge = read(file), Session(str(file), {})
    feeds: dict[str, Any] = {}
    for spec in judge.inputs:
        shape = [d if isinstance(d, int) else 2 for d in spec.shape]
        if np.dtype(spec.dtype).kind == "f":
            feeds[spec.name] = rng.normal(size=shape).astype(spec.dtype)
        else:
            limits = np.iinfo(spec.dtype)
            feeds[spec.name] = rng.integers(limits.min, limits.max + 1, shape).astype(spec.dtype)
    wanted = judge.run(feeds)
    got = runtime(model).run(None, feeds)
    assert [v.name for v in model.graph.outputs] == list(wanted)
    return list(wanted.values()), got, model


def check_dialect(model: ir.Model) -> None:
    names = [n.name for n in model.graph]
    assert len(names) == len(set(names))
    for node in model.graph:
        assert node.domain == ""
        assert node.op_type != "Constant"
        assert node.metadata_props[LAYER]
        assert all(v.dtype is not None and v.shape is not None for v in node.outputs)


@pytest.mark.parametrize("name", FLOAT)
def test_float_model(name: str, shared_models: Path, rng: np.random.Generator) -> None:
    wanted, got, model = compare(shared_models / name, rng)
    check_dialect(model)
    for a, b in zip(wanted, got, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        assert float(np.abs(a - b).max()) <= FLOAT[name] * float(np.abs(a).max())


@pytest.mark.parametrize("name", INTEGER)
def test_integer_model(name: str, shared_models: Path, rng: np.random.Generator) -> None:
    wanted, got, model = compare(shared_models / name, rng)
    check_dialect(model)
    for a, b in zip(wanted, got, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        assert int(np.abs(a.astype(int) - b.astype(int)).max()) <= INTEGER[name]


def test_integers_stay_the_files_own(shared_models: Path) -> None:
    from recast.formats.tflite.read_file import load

    path = shared_models / "kws-dscnn" / "kws_ref_model.tflite"
    model, tensors = read(path), load(path).subgraphs[0].tensors
    stored = {t.data.tobytes() for t in tensors if t.data is not None and t.dtype == "int32"}
    kept = {v.const_value.numpy().tobytes() for v in model.graph.initializers.values() if v.dtype == ir.DataType.INT32}
    assert kept
    assert kept <= stored
    scales = {float(s) for t in tensors if t.quantisation for s in t.quantisation.scale}
    for node in model.graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert set(map(float, node.inputs[1].const_value.numpy().reshape(-1))) <= scales


def accuracy(path: Path, x: np.ndarray, y: np.ndarray, reading: Any) -> tuple[int, int, int]:
    """Right answers of LiteRT, of the graph, and how many samples they answer differently."""
    judge, session = Session(str(path), {}), runtime(reading)
    name = judge.inputs[0].name
    ours, theirs = [], []
    for sample in x:
        theirs.append(int(next(iter(judge.run({name: sample[None]}).values())).argmax()))
        ours.append(int(session.run(None, {name: sample[None]})[0].argmax()))
    labels = y.tolist()
    return (
        sum(a == b for a, b in zip(theirs, labels, strict=True)),
        sum(a == b for a, b in zip(ours, labels, strict=True)),
        sum(a != b for a, b in zip(ours, theirs, strict=True)),
    )


@pytest.mark.parametrize(
    ("name", "data", "count"),
    [
        ("ic-resnet8-cifar10/pretrainedResnet_quant.tflite", "ic01_200.npz", 200),
        ("kws-dscnn/kws_ref_model.tflite", "kws01_first500.npz", 500),
        ("vww-mobilenet/vww_96_int8.tflite", "vww01_even500.npz", 500),
    ],
)
def test_integer_accuracy(name: str, data: str, count: int, shared_models: Path) -> None:
    path = shared_models / name
    with np.load(path.parent / data, allow_pickle=False) as held:
        y = held["y"][:count]
        x = held["x_int8"][:count] if "x_int8" in held else (held["x"][:count].astype(np.int16) - 128).astype(np.int8)
    theirs, ours, different = accuracy(path, x, y, read(path))
    assert theirs > 0.83 * count
    assert abs(ours - theirs) <= 1
    assert different <= count // 100


def test_person_detect_is_read_like_its_repaired_copy(
    shared_models: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    """LiteRT refuses the file: its vectors are quantised along an axis 3. Repaired copies run."""
    from recast.formats.tflite.flat_read import FlatFile
    from recast.formats.tflite.schema import fields

    path = shared_models / "awkward" / "person_detect.tflite"
    data = bytearray(path.read_bytes())
    slot = next(f.slot for f in fields("QuantizationParameters") if f.name == "quantized_dimension")
    root = FlatFile(memoryview(bytes(data)), "copy").root("Model")
    for tensor in root.get("subgraphs")[0].get("tensors"):
        held = tensor.get("quantization")
        if len(tensor.get("shape")) == 1 and held is not None and held.get("quantized_dimension"):
            place = held._find(slot, 4)
            data[place : place + 4] = bytes(4)
    repaired = tmp_path / "repaired.tflite"
    repaired.write_bytes(data)
    judge, model = Session(str(repaired), {}), read(path)
    assert any("quantized_dimension" in f.what for f in attached(model))
    for _ in range(3):
        feeds = {"input": rng.integers(-128, 128, (1, 96, 96, 1)).astype(np.int8)}
        want, got = judge.run(feeds), runtime(model).run(None, feeds)[0]
        assert int(np.abs(next(iter(want.values())).astype(int) - got).max()) <= 3


def test_integer_lstm_is_refused_with_its_reason(shared_models: Path) -> None:
    with pytest.raises(UnsupportedOp, match="rounded at every step") as caught:
        read(shared_models / "mnist-mixed" / "trained_lstm_int8.tflite")
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in caught.value.what


def test_layer_paths_are_the_sources(shared_models: Path) -> None:
    model = read(shared_models / "ic-resnet8-cifar10" / "pretrainedResnet.tflite")
    paths = list(dict.fromkeys(n.metadata_props[LAYER] for n in model.graph))
    assert paths[:4] == ["model/conv2d", "model/conv2d_1", "model/conv2d_2", "model/activation_2"]
    assert paths[-4:] == ["model/average_pooling2d", "model/flatten", "model/dense", "softmax"]
    assert "model/conv2d/kernel" in model.graph.initializers


def test_batch_is_dynamic_or_fixed_on_request(shared_models: Path) -> None:
    path = shared_models / "ic-resnet8-cifar10" / "pretrainedResnet.tflite"
    assert [list(v.shape) for v in read(path).graph.outputs] == [[ir.SymbolicDim("batch"), 10]]
    fixed = read(path, ReadOptions(inputs={"input_1": (3, 32, 32, 3)}))
    assert [list(v.shape) for v in fixed.graph.outputs] == [[3, 10]]


def test_weights_are_views_of_the_file(shared_models: Path) -> None:
    model = read(shared_models / "ad-autoencoder" / "ad01_fp32.tflite")
    large = [v.const_value.raw for v in model.graph.initializers.values() if v.const_value.size > 1000]
    assert large
    assert all(not a.flags.owndata for a in large)
