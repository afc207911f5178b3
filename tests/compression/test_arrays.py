"""Bare arrays: dead rows and columns go, the kept indices are told, packed files hold the same numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import safetensors.numpy

from recast import formats
from recast.compressing import Settings, compress
from recast.compression.arrays import shrink
from recast.compression.gate import Limits
from recast.compression.recipe import Distill, Prune, Quantize, Step
from recast.errors import BadModel, BadRecipe, RecastError
from recast.formats._format import ReadOptions
from recast.formats.arrays.packed import BITS, KEY, VALUES
from recast.formats.arrays.read import weights_model

ARRAYS = formats.by_name("arrays")


def _dead(rng: np.random.Generator, rows: int = 100, columns: int = 100) -> tuple[np.ndarray, list[list[int]]]:
    """Half of the rows and of the columns below 1e-3; the indices of the others."""
    w = rng.standard_normal((rows, columns)).astype(np.float32)
    gone = [rng.choice(n, n // 2, replace=False) for n in (rows, columns)]
    w[gone[0]] = w[gone[0]].clip(-5, 5) * 1e-5
    w[:, gone[1]] = w[:, gone[1]].clip(-5, 5) * 1e-5
    return w, [sorted(set(range(n)) - set(g.tolist())) for n, g in zip((rows, columns), gone, strict=True)]


def _read(path: Path) -> dict[str, np.ndarray]:
    held = formats.of_file(path).read(path, ReadOptions()).graph.initializers
    return {n: v.const_value.numpy() for n, v in held.items() if v.const_value is not None}


def _shrunk(tensors: dict[str, np.ndarray], *steps: Step) -> dict[str, np.ndarray]:
    return shrink(weights_model([ir.Tensor(a, name=n) for n, a in tensors.items()], "w"), steps).tensors


def test_a_hundred_becomes_fifty(rng: np.random.Generator, tmp_path: Path) -> None:
    w, kept = _dead(rng)
    np.save(tmp_path / "w.npy", w)
    out = tmp_path / "out.npy"
    command = [sys.executable, "-m", "recast", "compress", str(tmp_path / "w.npy"), str(out)]
    done = subprocess.run([*command, "--prune-threshold", "1e-3", "--structured"], timeout=120, check=False)
    assert done.returncode == 0
    made = np.load(out)
    assert made.shape == (50, 50)
    told = json.loads((tmp_path / "out.npy.kept.json").read_text())["tensors"]["w"]
    assert told == {"shape": [100, 100], "kept": kept}
    assert np.array_equal(made, w[np.ix_(*told["kept"])])


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
def test_state_dicts_are_cut_tensor_by_tensor(rng: np.random.Generator, tmp_path: Path, suffix: str) -> None:
    w, kept = _dead(rng, 34, 62)
    conv = np.ascontiguousarray(np.broadcast_to(w[..., None, None], (34, 62, 3, 2)))
    source, bias = tmp_path / "w.npz", w[0].copy()
    np.savez(source, conv=conv, bias=bias, steps=np.arange(3))
    result = compress(source, tmp_path / f"o{suffix}", Prune(None, 1e-3, True))
    assert result.outcome == "accepted"
    made = _read(result.files[0])
    assert np.array_equal(made["conv"], conv[np.ix_(*kept)])
    assert np.array_equal(made["bias"], bias)
    assert np.array_equal(made["steps"], np.arange(3))
    assert any("by itself" in f.what for f in result.findings)
    assert [f.name for f in result.files] == [f"o{suffix}", f"o{suffix}.kept.json", f"o{suffix}.recast.json"]


def test_an_amount_cuts_the_weakest_rows_and_columns(rng: np.random.Generator) -> None:
    w = (rng.random((7, 11)) + 1).astype(np.float32)
    w[3] *= 0.01
    w[:, 5] *= 0.01
    made = _shrunk({"w": w}, Prune(0.1, None, True))["w"]
    assert np.array_equal(made, np.delete(np.delete(w, 3, 0), 5, 1))


def test_two_cuts_tell_the_first_indices(rng: np.random.Generator) -> None:
    w = (np.arange(1, 43).reshape(6, 7) + 0.5).astype(np.float32)
    model = weights_model([ir.Tensor(w, name="w")], "w")
    done = shrink(model, [Prune(0.34, None, True), Prune(0.34, None, True)])
    assert done.kept is not None
    assert np.array_equal(done.tensors["w"], w[np.ix_(*done.kept["w"]["kept"])])
    assert done.kept["w"]["shape"] == [6, 7]


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (np.zeros((5, 7), np.float32), "nothing would be left"),
        (np.ones((5, 7), np.float32), "no row or column is dead"),
        (np.full((5, 7), np.nan, np.float32), "not all finite"),
        (np.ones((0, 7), np.float32), "empty"),
        (np.ones(7, np.float32), "one axis"),
        (np.ones((5, 7), np.int32), "no type of weights"),
        (np.float32(3).reshape(()), "one axis"),
    ],
    ids=["dead", "alive", "nan", "empty", "vector", "integers", "scalar"],
)
def test_awkward_arrays_stay_and_say_why(array: np.ndarray, why: str) -> None:
    done = shrink(weights_model([ir.Tensor(array, name="w")], "w"), [Prune(None, 1e-3, True)])
    assert np.array_equal(done.tensors["w"], array, equal_nan=array.dtype.kind == "f")
    assert why in done.plans[0].skips[0].why
    assert done.kept is None


def test_single_entries_and_packed_files(rng: np.random.Generator, tmp_path: Path) -> None:
    w, b = rng.standard_normal((67, 53)).astype(np.float32), rng.standard_normal(53).astype(np.float32)
    np.savez(tmp_path / "w.npz", w=w, b=b)
    for suffix in (".npz", ".safetensors"):
        result = compress(tmp_path / "w.npz", tmp_path / f"o{suffix}", Prune(0.5))
        assert result.comparison is not None
        assert result.comparison.size_bytes[1] < 0.62 * result.comparison.size_bytes[0]
        made = _read(result.files[0])
        limit = np.sort(np.abs(w).reshape(-1))[round(w.size / 2)]
        assert np.array_equal(made["w"], np.where(np.abs(w) < limit, 0, w))
        assert np.array_equal(made["b"], b)
    with np.load(tmp_path / "o.npz") as held:  # NumPy reads it without us
        assert np.array_equal(held["w"], made["w"])


def test_the_documented_way_to_unpack(rng: np.random.Generator, tmp_path: Path) -> None:
    """docs/reference/sparse.md, in the words of somebody who has safetensors and NumPy only."""
    w = rng.standard_normal((13, 31)).astype(np.float32)
    np.save(tmp_path / "w.npy", w)
    compress(tmp_path / "w.npy", tmp_path / "o.safetensors", Prune(0.8))
    held = safetensors.numpy.load_file(tmp_path / "o.safetensors")
    bits, values = held["w" + BITS], held["w" + VALUES]
    dense = np.zeros(13 * 31, values.dtype)
    dense[np.unpackbits(bits, count=dense.size, bitorder="little") == 1] = values
    assert np.array_equal(dense.reshape(13, 31), _read(tmp_path / "o.safetensors")["w"])
    with safetensors.safe_open(tmp_path / "o.safetensors", "np") as file:
        assert json.loads(file.metadata()[KEY]) == {"w": [13, 31]}


def test_npy_with_zeros_is_refused_with_the_reason(rng: np.random.Generator, tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", rng.standard_normal((17, 5)))
    result = compress(tmp_path / "w.npy", tmp_path / "o.npy", Prune(0.5))
    assert result.outcome == "refused"
    assert "not smaller" in result.reasons[0]
    assert any("zeros like other numbers" in f.what for f in result.findings)
    again = compress(tmp_path / "w.npy", tmp_path / "p.npy", Prune(0.5), Settings(limits=Limits(allow_worse=True)))
    assert again.outcome == "worse, as allowed"


def test_int8_and_halves(rng: np.random.Generator) -> None:
    w = rng.standard_normal((13, 7)).astype(np.float32)
    w[4] = 0
    made = _shrunk({"w": w}, Quantize("int8"))
    real = made["w"].astype(np.float64) * made["w.scale"][:, None]
    assert made["w"].dtype == np.int8
    assert (np.abs(real - w) <= made["w.scale"][:, None] * 0.5001).all()
    assert _shrunk({"w": w}, Quantize("float16"))["w"].dtype == np.float16
    assert _shrunk({"w": w}, Quantize("bfloat16"))["w"].dtype.itemsize == 2
    assert _shrunk({"w": w * 1e6}, Quantize("float16"))["w"].dtype == np.float32  # would overflow


def test_what_needs_a_graph_is_refused(rng: np.random.Generator, tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", rng.standard_normal((7, 5)))
    for step in (Prune(0.5, kind="wanda"), Distill("t.h5"), Quantize("int4")):
        with pytest.raises(BadRecipe, match="needs a graph"):
            compress(tmp_path / "w.npy", tmp_path / "o.npy", step)
    with pytest.raises(BadRecipe):
        compress(tmp_path / "w.npy", tmp_path / "o.onnx", Prune(0.5))
    assert not list(tmp_path.glob("o*"))


@pytest.mark.parametrize("fault", ["bits", "count", "shape", "huge", "missing", "json"])
def test_hostile_packed_files_are_refused(tmp_path: Path, fault: str) -> None:
    bits, values, shape = np.array([0b101, 1], np.uint8), np.ones(3, np.float32), [3, 5]
    tensors, table = {"w" + BITS: bits, "w" + VALUES: values}, json.dumps({"w": shape})
    if fault == "bits":
        tensors["w" + BITS] = bits[:1]
    elif fault == "count":
        tensors["w" + VALUES] = values[:2]
    elif fault == "shape":
        table = json.dumps({"w": [-3, -5]})
    elif fault == "huge":
        table = json.dumps({"w": [1 << 40, 1 << 20]})
    elif fault == "missing":
        del tensors["w" + VALUES]
    else:
        table = "[1"
    safetensors.numpy.save_file(tensors, tmp_path / "w.safetensors", {KEY: table})
    with pytest.raises((BadModel, RecastError)):
        ARRAYS.read(tmp_path / "w.safetensors", ReadOptions())
