"""Packed zeros: both forms unpack to the same bits in ONNX Runtime and in our reader; hostile ones are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from recast import formats
from recast.errors import BadModel, RecastError, TooLarge
from recast.formats._format import ReadOptions, WriteOptions
from recast.formats.onnx.sparse import densify, pack
from recast.graph.build import Builder
from recast.passes import PassOptions, fold_constants

ONNX = formats.by_name("onnx")


def _model(w: np.ndarray, dtype: ir.DataType = ir.DataType.FLOAT) -> ir.Model:
    b = Builder("net")
    x = b.input("x", ir.DataType.FLOAT, ("batch", w.shape[0]))
    held = b.weight("w", w)
    if dtype == ir.DataType.INT8:
        held = b.op("Cast", [held], {"to": int(ir.DataType.FLOAT)})
    b.output(b.op("MatMul", [x, held]), "y")
    return b.model()


def _sparse(rng: np.random.Generator, shape: tuple[int, ...], share: float) -> np.ndarray:
    w = (rng.standard_normal(shape) * 40).astype(np.float32)
    w[rng.random(shape) < share] = 0
    return w


@pytest.mark.parametrize(("share", "kind"), [(0.5, "bitmap"), (0.9, "bitmap"), (0.999, "sparse initializer")])
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_both_forms_hold_the_same_bits(
    rng: np.random.Generator, tmp_path: Path, share: float, kind: str, dtype: str
) -> None:
    w = np.rint(_sparse(rng, (67, 53), share)).clip(-127, 127).astype(dtype)  # 3551 elements: not whole bytes
    model = _model(w, ir.DataType.INT8 if dtype == "int8" else ir.DataType.FLOAT)
    dense, packed = tmp_path / "dense.onnx", tmp_path / "packed.onnx"
    ONNX.write(model.clone(), dense, WriteOptions())
    ONNX.write(model, packed, WriteOptions(sparse=True))
    assert packed.stat().st_size < dense.stat().st_size
    proto = onnx.load(packed)
    # ONNX's own shape inference takes a sparse initializer for a sparse value
    onnx.checker.check_model(proto, full_check=kind == "bitmap")
    assert bool(proto.graph.sparse_initializer) == (kind == "sparse initializer")
    x = rng.standard_normal((5, 67)).astype(np.float32)
    results = []
    for path in (dense, packed):
        for level in (ort.GraphOptimizationLevel.ORT_DISABLE_ALL, ort.GraphOptimizationLevel.ORT_ENABLE_ALL):
            options = ort.SessionOptions()
            options.graph_optimization_level = level
            session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            results.append(session.run(None, {"x": x})[0])
    assert all(np.array_equal(results[0], r) for r in results[1:])
    back = ONNX.read(packed, ReadOptions())
    fold_constants.apply(back, PassOptions())
    held = [v.const_value.numpy() for v in back.graph.initializers.values() if v.const_value is not None]
    assert any(a.shape == w.shape and np.array_equal(a, w) for a in held)


def test_the_runtime_unpacks_once(rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / "packed.onnx"
    ONNX.write(_model(_sparse(rng, (67, 53), 0.6)), path, WriteOptions(sparse=True))
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    assert [n.op_type for n in onnx.load(tmp_path / "loaded.onnx").graph.node] == ["MatMul"]


@pytest.mark.parametrize(("shape", "share"), [((67, 53), 0.0), ((67, 53), 0.03), ((5, 7), 0.9)])
def test_what_would_not_be_smaller_stays(rng: np.random.Generator, shape: tuple[int, ...], share: float) -> None:
    model = _model(_sparse(rng, shape, share))
    assert not pack(model)
    assert [n.op_type for n in model.graph] == ["MatMul"]


def _graph(dims: list[int], indices: np.ndarray, values: np.ndarray) -> onnx.ModelProto:
    sparse = onnx.SparseTensorProto(
        values=onnx.numpy_helper.from_array(values, "w"), indices=onnx.numpy_helper.from_array(indices), dims=dims
    )
    x = onnx.helper.make_tensor_value_info("x", 1, ["n", 7])
    y = onnx.helper.make_tensor_value_info("y", 1, ["n", 11])
    graph = onnx.helper.make_graph([onnx.helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y])
    graph.sparse_initializer.append(sparse)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize("pairs", [False, True], ids=["linear", "pairs"])
def test_files_of_others_are_read(rng: np.random.Generator, tmp_path: Path, pairs: bool) -> None:
    w = _sparse(rng, (7, 11), 0.8)
    flat = np.flatnonzero(w)
    indices = np.argwhere(w) if pairs else flat
    path = tmp_path / "theirs.onnx"
    onnx.save(_graph([7, 11], indices.astype(np.int64), w.reshape(-1)[flat]), path)
    held = ONNX.read(path, ReadOptions()).graph.initializers["w"].const_value
    assert held is not None
    assert np.array_equal(held.numpy(), w)


@pytest.mark.parametrize(
    ("dims", "indices", "error"),
    [
        ([7, 11], [0, 77], BadModel),
        ([7, 11], [-1, 3], BadModel),
        ([7, 11], [1, 2, 3], BadModel),
        ([7, 11], [[0, 1], [7, 0]], BadModel),
        ([1 << 20, 1 << 20], [0, 1], TooLarge),
        ([1 << 40, 1 << 40], [0, 1], RecastError),
    ],
)
def test_hostile_indices_are_refused(
    tmp_path: Path, dims: list[int], indices: list[int], error: type[Exception]
) -> None:
    path = tmp_path / "bad.onnx"
    onnx.save(_graph(dims, np.array(indices, np.int64), np.ones(2, np.float32)), path)
    with pytest.raises(error):
        ONNX.read(path, ReadOptions())


def test_indices_of_another_type_are_refused() -> None:
    model = _graph([7, 11], np.array([0.0, 1.0], np.float32), np.ones(2, np.float32))
    with pytest.raises(BadModel):
        densify(model.graph, "here")
