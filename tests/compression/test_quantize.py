"""Quantised graphs: patches against the runtime, ranges, whole plans, and files in LiteRT and ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from recast import formats, passes
from recast._util.child import RemoteRunner
from recast.compressing import Settings, compress
from recast.compression._method import Statistics
from recast.compression.apply import apply
from recast.compression.gate import Limits
from recast.compression.quantize._layers import layers
from recast.compression.quantize._probe import Probe
from recast.compression.quantize._ranges import range_of, spans
from recast.compression.quantize._values import choose
from recast.compression.quantize.half import Float16
from recast.compression.quantize.int8 import Int8
from recast.compression.quantize.weights import Int4, Weights
from recast.compression.recipe import Quantize
from recast.errors import BadRecipe
from recast.formats._format import WriteOptions
from recast.graph.build import Builder
from recast.measure.calibrate import Graph
from recast.measure.data import Samples
from recast.measure.histogram import Histogram
from recast.verification.local import GraphRunner


def _net(rng: np.random.Generator, softmax: bool = True) -> ir.Model:
    """Residual, concat, depthwise, strided, pooled, dense: prime sizes."""
    b = Builder("net")

    def w(name: str, *shape: int) -> ir.Value:
        return b.weight(name, (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) or 1)).astype(np.float32))

    x = b.input("x", ir.DataType.FLOAT, ("batch", 3, 13, 11))
    h = b.op("Relu", [b.op("Conv", [x, w("a", 13, 3, 3, 3), w("a.b", 13)], {"pads": [1, 1, 1, 1]})])
    d = b.op("Conv", [h, w("d", 13, 1, 3, 3), w("d.b", 13)], {"group": 13, "pads": [1, 1, 1, 1]})
    s = b.op("Relu", [b.op("Add", [h, d])])
    t = b.op("Conv", [s, w("t", 5, 13, 3, 2), w("t.b", 5)], {"auto_pad": "SAME_UPPER", "strides": [2, 2]})
    p = b.op("MaxPool", [s], {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"})
    c = b.op("Concat", [t, p], {"axis": 1})
    g = b.op("Flatten", [b.op("GlobalAveragePool", [c])])
    f = b.weight("f", rng.standard_normal((18, 5)).astype(np.float32) * 2)  # answers that differ
    y = b.op("Gemm", [g, f, w("f.b", 5)])
    y = b.op("Softmax", [y], {"axis": -1}) if softmax else y
    b.output(y, "y")
    return b.model()


def _samples(rng: np.random.Generator, count: int = 64) -> Samples:
    """Images of different brightness and contrast, so that pooled features differ."""
    x = rng.standard_normal((count, 3, 13, 11)) * rng.uniform(0.3, 3, (count, 1, 1, 1))
    x += rng.standard_normal((count, 3, 1, 1)) * 2
    return Samples({"x": x.astype(np.float32)})


def _planned(model: ir.Model, method: Int8 | Weights, samples: Samples, target: str = "tflite") -> ir.Model:
    passes.run(model, method.passes, passes.PassOptions())
    needs = method.needs(model)
    with Graph(model) as graph:
        seen = graph.observe(samples, needs.values)
    return apply(model, method.plan(model, Statistics(seen, samples, target)))


def _distance(first: ir.Model, second: ir.Model, samples: Samples) -> float:
    a, b = (GraphRunner(m, optimise=False).run(dict(samples.feeds))["y"] for m in (first, second))
    return float(np.sqrt(np.mean(np.square(a - b))) / a.std())


def test_patches_times_matrix_are_the_layers_outputs(rng: np.random.Generator) -> None:
    model, samples = _net(rng), _samples(rng, 5)
    found = layers(model)
    assert [layer.op for layer in found] == ["Conv", "Conv", "Conv", "Gemm"]
    with Graph(model) as graph:
        values = graph.run(samples, [n for layer in found for n in (layer.x, layer.y) if n != "x"])
    values["x"] = samples.feeds["x"]
    for layer in found:
        weight, bias = (model.graph.initializers[n].const_value.numpy() for n in (layer.weight, layer.bias))  # type: ignore[union-attr]
        made = np.einsum("pgc,grc->pgr", layer.patches(values[layer.x], None), layer.matrix(weight))
        made += bias.reshape(layer.groups, -1)
        wanted = layer.results(values[layer.y], None)
        np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=1e-4)
        pick = np.array([0, 3, len(wanted) - 1])
        assert np.array_equal(layer.patches(values[layer.x], pick), layer.patches(values[layer.x], None)[pick])
        assert np.array_equal(layer.unmatrix(layer.matrix(weight), weight.shape), weight)


def test_values_that_share_a_scale(rng: np.random.Generator) -> None:
    model = _net(rng)
    found = choose(model.graph)
    concat = next(n for n in model.graph if n.op_type == "Concat")
    group = next(g for g in found.groups if concat.outputs[0].name in g)
    assert {v.name for v in concat.inputs if v is not None} <= set(group)
    pool = next(n for n in model.graph if n.op_type == "MaxPool")
    assert pool.inputs[0] is not None
    assert pool.inputs[0].name in group  # pooling does not rescale
    conv = next(n for n in model.graph if n.op_type == "Conv")
    assert conv.outputs[0].name not in found.names  # its activation is taken in
    assert found.fixed["y"] == (1 / 256, -128)


@pytest.mark.parametrize(("low", "high"), [(0.0, 5.0), (-3.0, 4.0), (1.0, 2.0), (-7.0, -1.0), (0.0, 0.0)])
def test_zero_is_an_integer(low: float, high: float) -> None:
    scale, zero = range_of((low, high), (-128, 127))
    assert -128 <= zero <= 127
    assert scale > 0
    for value in (low, high):
        q = np.clip(round(value / scale) + zero, -128, 127)
        assert abs((q - zero) * scale - value) <= scale * 1.01


def test_calibrators_clip_outliers(rng: np.random.Generator) -> None:
    seen = Histogram()
    seen.add(rng.standard_normal(100_003))
    seen.add(np.array([60.0]))
    found = spans(seen, (-128, 127))
    assert found["minmax"][1] == 60.0
    assert all(found[n][1] < 30 for n in ("99.9%", "99.99%", "entropy"))
    assert all(s[0] <= 0 <= s[1] for s in found.values())


def test_the_probe_rounds_as_quantize_linear_does(rng: np.random.Generator) -> None:
    model, samples = _net(rng), _samples(rng, 7)
    name = next(n for n in model.graph if n.op_type == "Add").outputs[0].name or ""
    with Probe(model, [[name]], ["a"], (-128, 127)) as probe:
        off = probe.run(samples, [name, probe.behind(name)])
        probe.turn_on(name, (0.05, -3))
        on = probe.run(samples, [name, probe.behind(name)])
        probe.set({"a": np.zeros((13, 3, 3, 3))})
        assert not np.array_equal(probe.run(samples, [name])[name], off[name])
    assert np.array_equal(off[name], off[probe.behind(name)])
    exact = on[name].astype(np.float64) / np.float32(0.05)
    wanted = (np.clip(np.rint(exact) - 3, -128, 127) + 3) * np.float32(0.05)
    made = on[probe.behind(name)]
    assert (np.abs(made - wanted) < 1e-5).mean() > 0.999  # halves may go either way


def test_int8_is_close_and_fitting_helps_where_bits_are_few(rng: np.random.Generator) -> None:
    model, samples, test = _net(rng), _samples(rng, 128), _samples(rng, 256)
    assert _distance(model, _planned(model.clone(), Int8(), samples), test) < 0.1
    few = (Int8(bits=4, ranges="minmax", rounding=r) for r in ("nearest", "gptq"))
    plain, good = (_distance(model, _planned(model.clone(), m, samples), test) for m in few)
    assert good < 0.9 * plain


@pytest.mark.parametrize(("method", "bound"), [(Weights(), 0.02), (Int4(), 0.25), (Int4(rounding="hqq"), 0.4)])
def test_weights_only(rng: np.random.Generator, method: Weights, bound: float) -> None:
    model, samples, test = _net(rng), _samples(rng, 128), _samples(rng, 256)
    made = _planned(model.clone(), method, samples)
    assert _distance(model, made, test) < bound
    assert not any(n.op_type == "QuantizeLinear" for n in made.graph)


def test_int8_file_is_all_integers_in_litert(rng: np.random.Generator, tmp_path: Path) -> None:
    model, samples = _net(rng), _samples(rng, 64)
    made = _planned(model, Int8(), samples)
    reference = made.clone()
    tflite = formats.by_name("tflite")
    passes.run(made, tflite.passes, passes.PassOptions(layout="channels_last"))
    path = tmp_path / "m.tflite"
    tflite.write(made, path, WriteOptions())
    with RemoteRunner("recast.formats.tflite.run", path) as runner:
        kinds = runner.call("statistics")[0]["operators"]
        assert kinds["DEQUANTIZE"] == 1  # the output
        assert kinds["QUANTIZE"] == 1  # the input
        x = samples.feeds["x"][:1]
        got = runner.run({runner.inputs[0].name: x})[runner.outputs[0].name]
    wanted = GraphRunner(reference, optimise=False).run({"x": x})["y"]
    assert np.abs(got - wanted).max() <= 4 / 256


def test_int8_file_is_all_integers_in_onnx_runtime(rng: np.random.Generator, tmp_path: Path) -> None:
    import onnx
    import onnxruntime as ort

    model, samples = _net(rng), _samples(rng, 64)
    made = _planned(model, Int8(rounding="nearest"), samples, "onnx")
    formats.by_name("onnx").write(made, tmp_path / "m.onnx", WriteOptions())
    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    settings.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    ort.InferenceSession(str(tmp_path / "m.onnx"), settings, providers=["CPUExecutionProvider"])
    kinds = [n.op_type for n in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert not {"Conv", "Gemm", "MatMul", "Add", "FusedConv"} & set(kinds)
    assert kinds.count("QLinearConv") == 3
    assert kinds.count("QGemm") == 1
    assert kinds.count("DequantizeLinear") == 1  # the output
    assert kinds.count("QuantizeLinear") == 1  # the input


def test_a_quantised_model_is_recognised(rng: np.random.Generator) -> None:
    made = _planned(_net(rng), Weights(rounding="nearest"), _samples(rng, 4))
    with pytest.raises(BadRecipe, match="already quantised"):
        Int8().needs(made)
    with pytest.raises(BadRecipe, match="already quantised"):
        Float16().plan(made, Statistics(target="tflite"))


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("int16", ".onnx"), ("int8-dynamic", ".tflite"), ("int8-dynamic", ".onnx"), ("bfloat16", ".onnx")],
)
def test_other_kinds_are_verified_in_the_runtime(
    rng: np.random.Generator, tmp_path: Path, kind: str, suffix: str
) -> None:
    onnx = formats.by_name("onnx")
    onnx.write(_net(rng, kind != "int16"), tmp_path / "net.onnx", WriteOptions())
    np.savez(tmp_path / "d.npz", x=_samples(rng, 128).feeds["x"])
    settings = Settings(data=tmp_path / "d.npz", limits=Limits(allow_worse=True, disagree=0.05))
    result = compress(tmp_path / "net.onnx", tmp_path / f"m{suffix}", Quantize(kind), settings)
    assert result.report is not None
    assert result.report.passed, result.reasons  # the file computes what the plan says
    assert result.comparison is not None
    assert result.comparison.disagree is not None
    assert result.comparison.disagree <= 0.05
    if suffix == ".tflite":
        with RemoteRunner("recast.formats.tflite.run", result.files[0]) as runner:
            kinds = runner.call("statistics")[0]["operators"]
        assert kinds.get("DEQUANTIZE", 0) <= 2  # integer kernels, no dequantised weights


def test_a_pruned_model_stays_pruned_and_does_not_collapse(rng: np.random.Generator) -> None:
    model, samples, test = _net(rng), _samples(rng, 128), _samples(rng, 256)
    for name in ("a", "t"):
        held = model.graph.initializers[name]
        assert held.const_value is not None
        array = held.const_value.numpy().copy()
        array[np.abs(array) < np.quantile(np.abs(array), 0.6)] = 0
        held.const_value = ir.Tensor(array, name=name)
    made = _planned(model.clone(), Int8(), samples)
    assert _distance(model, made, test) < 0.1
    integers = next(v.const_value for n, v in made.graph.initializers.items() if n.startswith("a/integers"))
    assert integers is not None
    assert (integers.numpy() == 0).mean() > 0.59


def test_resnet8(shared_models: Path, tmp_path: Path) -> None:
    """Goal: at least 97 % of the answers; here on 100 lossless images after calibrating on the 100 others."""
    folder = shared_models / "ic-resnet8-cifar10"
    settings = Settings(data=folder / "ic01_200.npz")
    steps = Quantize("int8", {"samples": 64})
    result = compress(folder / "pretrainedResnet.h5", tmp_path / "m.tflite", steps, settings)
    assert result.comparison is not None
    assert result.comparison.disagree is not None
    assert result.comparison.disagree <= 0.05
    assert result.comparison.size_bytes[1] <= 98_496
