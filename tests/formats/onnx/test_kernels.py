"""What ONNX Runtime has no kernel for: every row against the installed runtime, then written as other operators."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

import recast
from recast import formats
from recast.formats.onnx.kernels import ABSENT, LACKING, has_kernel
from recast.graph.build import Builder
from recast.measure.calibrate import Graph
from recast.pipeline import prepare
from recast.recipe import Writing

from ...passes.checks import count, ort_run

SEED = np.random.default_rng(11)
ROWS = [(op, "FLOAT") for op in sorted(ABSENT)] + [
    (op, dtype) for op, lacking in LACKING.items() for types in lacking.values() for dtype in sorted(types)
]
ATTRIBUTES = {
    "Swish": {"alpha": 1.7},
    "SwiGLU": {"alpha": 0.7},
    "BitCast": {"to": int(ir.DataType.UINT8)},
    "TopK": {"axis": 1},
    "RoiAlign": {"output_height": 3, "output_width": 2, "sampling_ratio": 2},
}


def _array(dtype: str, *shape: int) -> np.ndarray:
    """Random elements: of integers the whole range, so that a type that is too narrow shows."""
    numpy = ir.DataType[dtype].numpy()
    if numpy.kind == "b":
        return SEED.integers(0, 2, shape).astype(bool)
    if numpy.kind in "iu":
        limits = np.iinfo(numpy)
        return SEED.integers(limits.min, limits.max, shape, numpy, endpoint=True)
    return SEED.normal(0, 2, shape).astype(numpy)


def _inputs(op: str, dtype: str) -> list[np.ndarray]:
    x = _array(dtype, 3, 7)
    if op == "RoiAlign":
        rois = np.array([[1, 1, 5, 7], [0, 2, 9, 4]], np.float32)
        return [_array(dtype, 2, 3, 11, 13), rois, np.array([1, 0])]
    if op == "Where":
        return [_array("BOOL", 3, 7), x, _array(dtype, 3, 7)]
    if op == "TopK":
        return [x, np.array([4])]
    if op == "NonZero":
        return [np.where(_array("BOOL", 3, 7), x, np.zeros((), x.dtype))]
    if op == "Pow":
        return [_array("FLOAT", 3, 7), (np.arange(21).reshape(3, 7) % 5).astype(ir.DataType[dtype].numpy())]
    return [x, _array(dtype, 3, 7)][: 2 if op in ("Max", "Min", "PRelu", "SwiGLU") else 1]


def _model(op: str, arrays: list[np.ndarray]) -> tuple[ir.Model, dict[str, np.ndarray]]:
    """The operator alone; how many TopK takes is a constant."""
    b = Builder()
    fixed = op == "TopK"
    names = [f"x{i}" for i in range(len(arrays) - fixed)]
    given = [b.input(n, ir.DataType.from_numpy(a.dtype), a.shape) for n, a in zip(names, arrays, strict=False)]
    attributes = ATTRIBUTES.get(op, {})
    weights = [b.weight("k", arrays[-1])] if fixed else []
    for place, value in enumerate(b.node(op, [*given, *weights], attributes, 2 if op == "TopK" else 1)):
        b.output(value, f"y{place}")
    return b.model(), dict(zip(names, arrays, strict=False))


@pytest.mark.parametrize(("op", "dtype"), ROWS, ids=[f"{o}-{d.lower()}" for o, d in ROWS])
def test_a_row_is_refused_by_the_runtime_and_mended(op: str, dtype: str) -> None:
    arrays = _inputs(op, dtype)
    model, feeds = _model(op, arrays)
    assert not all(map(has_kernel, model.graph))
    with pytest.raises(Exception, match="NOT_IMPLEMENTED"):
        ort_run(model, feeds)
    if dtype == "DOUBLE":  # the operator itself, in the type that the runtime has
        expected = ort_run(*_model(op, [a.astype(np.float32) for a in arrays]))
    else:
        expected = ReferenceEvaluator(ir.to_proto(model)).run(None, feeds)
    prepare(model, formats.by_name("onnx"), Writing())
    assert all(map(has_kernel, model.graph))
    for right, mine in zip(expected, ort_run(model, feeds), strict=True):
        assert right.shape == mine.shape
        if mine.dtype.kind == "f":
            np.testing.assert_allclose(mine, right, rtol=2e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(mine, right)


def test_every_function_is_kept_but_for_what_has_no_kernel() -> None:
    schemas = [s for s in onnx.defs.get_all_schemas() if s.domain == ""]
    functions = {s.name for s in schemas if s.has_function or s.has_context_dependent_function}
    assert formats.by_name("onnx").keep_functions == functions


def _network(rng: np.random.Generator) -> ir.Model:
    """Two dense layers with Swish between them; the weight of the first is computed."""
    b = Builder()
    x = b.input("x", ir.DataType.FLOAT, ("batch", 7))
    w = b.op("Neg", [b.weight("w", rng.standard_normal((7, 13)).astype(np.float32))])
    h = b.op("Gemm", [x, w])
    s = b.op("Swish", [h])
    b.output(b.op("Gemm", [s, b.weight("v", rng.standard_normal((13, 5)).astype(np.float32))]), "y")
    s.name = "between"
    return b.model()


def test_swish_goes_through_onnx_and_is_proved(tmp_path: Path, rng: np.random.Generator) -> None:
    source = tmp_path / "swish.onnx"
    onnx.save(ir.to_proto(_network(rng)), source)
    made = recast.convert(source, tmp_path / "made.onnx")
    assert made.verdict == "verified"
    assert [n.op_type for n in onnx.load(made.files[0]).graph.node] == ["Gemm", "Sigmoid", "Mul", "Gemm"]


@pytest.mark.parametrize("op", ["Swish", "SwiGLU"])
def test_half_precision_is_proved_too(op: str, tmp_path: Path) -> None:
    """Down to arguments whose gate is nearly shut."""
    b = Builder()
    x = b.input("x", ir.DataType.FLOAT16, ("batch", 7))
    given = [x, b.input("z", ir.DataType.FLOAT16, ("batch", 7))] if op == "SwiGLU" else [x]
    b.output(b.op(op, given, {"alpha": 1.7}), "y")
    model = b.model()
    model.opset_imports[""] = 28
    onnx.save(ir.to_proto(model), tmp_path / "half.onnx")
    assert recast.convert(tmp_path / "half.onnx", tmp_path / "made.onnx").verdict == "verified"


def test_targets_that_have_swish_keep_it(rng: np.random.Generator) -> None:
    for target in ("torch", "mindspore", "keras"):
        model = _network(rng)
        prepare(model, formats.by_name(target), Writing())
        assert count(model, "Swish") == 1, target


def test_what_happens_inside_is_seen_by_its_name(rng: np.random.Generator) -> None:
    """A graph under measurement is run as others write it, and a weight that is adjusted is not folded away."""
    model = _network(rng)
    w, x = model.graph.initializers["w"].const_value.numpy(), rng.standard_normal((3, 7)).astype(np.float32)  # type: ignore[union-attr]
    with Graph(model, ["w"]) as graph, graph.open(["between", "y"]) as runner:
        assert count(model, "Swish") == 1
        for scale in (1, 2):
            runner.call("hold", {"w": w * scale})
            h = -x @ (w * scale)
            np.testing.assert_allclose(runner.run({"x": x})["between"], h / (1 + np.exp(-h)), rtol=1e-5, atol=1e-6)
