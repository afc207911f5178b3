"""SavedModels that are written through the Keras writer, run by TensorFlow and read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

import recast
from recast.demo import MODEL
from recast.errors import BadRecipe, MissingDependency
from recast.formats import by_name
from recast.graph.build import Builder

pytest.importorskip("tensorflow")
pytest.importorskip("keras")


def test_demo_model(tmp_path: Path, rng: np.random.Generator) -> None:
    out = tmp_path / "net.savedmodel"
    result = recast.convert(MODEL, out)
    assert result.verdict == "verified"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.savedmodel", "net.savedmodel.recast.json"]
    assert (out / "saved_model.pb").is_file()
    before, after = recast.load(MODEL), recast.load(out)
    kinds = [n.op_type for n in after.graph if n.op_type != "Identity"]
    assert kinds == [n.op_type for n in before.graph if n.op_type != "Dropout"]
    feed = rng.uniform(0, 16, (3, 8, 8, 1)).astype(np.float32)
    sessions = [onnxruntime.InferenceSession(ir.to_proto(m).SerializeToString()) for m in (before, after)]
    first, second = (s.run(None, {s.get_inputs()[0].name: feed})[0] for s in sessions)
    np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)


def test_names(tmp_path: Path, rng: np.random.Generator) -> None:
    """Two inputs and two outputs keep their names and meaning; the batch stays free."""
    b = Builder("net")
    x, y = b.input("a/first", ir.DataType.FLOAT, ("batch", 5)), b.input("second", ir.DataType.FLOAT, ("batch", 5))
    w = b.weight("w", rng.normal(size=(5, 3)).astype(np.float32))
    b.output(b.op("MatMul", [b.op("Sub", [x, y]), w]), "difference")
    b.output(b.op("Add", [x, y]), "a_sum")
    recast.save(b.model(), tmp_path / "net", recast.Writing(to="savedmodel"))
    with by_name("savedmodel").open(tmp_path / "net") as runner:  # type: ignore[attr-defined]
        assert {s.name for s in runner.inputs} == {"a_first", "second"}
        assert all(s.shape[0] == "batch" for s in runner.inputs)
        feeds = {n: rng.normal(size=(4, 5)).astype(np.float32) for n in ("a_first", "second")}
        found = runner.run(feeds)
    np.testing.assert_allclose(found["a_sum"], feeds["a_first"] + feeds["second"], rtol=1e-6)
    assert found["difference"].shape == (4, 3)


def test_frozen_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match="frozen"):
        recast.convert(MODEL, tmp_path / "net.pb")
    assert list(tmp_path.iterdir()) == []


def test_without_tensorflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recast.formats.savedmodel.write.have", lambda name: name != "tensorflow")
    with pytest.raises(MissingDependency, match="tensorflow"):
        recast.convert(MODEL, tmp_path / "net.savedmodel", recast.Recipe(checking=recast.Checking(verify=False)))
    assert list(tmp_path.iterdir()) == []
