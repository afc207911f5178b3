"""Programs are read back under their own names: exported ones of others, and sources with ``load()``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from recast._util.child import TensorSpec
from recast.errors import BadModel, BadRecipe
from recast.formats.torch import FORMAT, programs
from recast.formats.torch.capture import Session
from recast.passes.normalise import normalise
from recast.verification.local import GraphRunner

torch = pytest.importorskip("torch")
OPTIONS = {"inputs": {}, "weights": None}
SOURCE = """
import torch
INPUTS = [("image one", "float32", ["n", 5])]
OUTPUTS = [("score/0", "float32", ["n", 3])]
def load():
    torch.manual_seed(3)
    return torch.nn.Linear(5, 3).eval()
"""


def test_exported_program_of_someone_else(tmp_path: Path, rng: np.random.Generator) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh()).eval()
    dynamic = ({0: torch.export.Dim("rows")},)
    torch.export.save(torch.export.export(net, (torch.zeros(3, 5),), dynamic_shapes=dynamic), tmp_path / "a.pt2")
    assert FORMAT.sniff(tmp_path / "a.pt2", (tmp_path / "a.pt2").read_bytes()[:4096])
    session = Session(str(tmp_path / "a.pt2"), OPTIONS)
    (spec,) = session.inputs
    assert (spec.name, spec.shape[1]) == ("input", 5)
    assert isinstance(spec.shape[0], str)
    session.export({}, str(tmp_path / "a.onnx"))
    model = normalise(ir.load(tmp_path / "a.onnx"), "a")
    for rows in (1, 11):
        x = rng.standard_normal((rows, 5)).astype(np.float32)
        (wanted,) = session.run({"input": x}).values()
        (found,) = GraphRunner(model).run({"input": x}).values()
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


def test_source_keeps_names_that_are_no_identifiers(tmp_path: Path, rng: np.random.Generator) -> None:
    (tmp_path / "net.py").write_text(SOURCE)
    session = Session(str(tmp_path / "net.py"), OPTIONS)
    session.export({}, str(tmp_path / "a.onnx"))
    model = normalise(ir.load(tmp_path / "a.onnx"), "a")
    told = [(v.name, str(v.shape)) for v in (*model.graph.inputs, *model.graph.outputs)]
    assert told == [("image one", "[n,5]"), ("score/0", "[n,3]")]
    x = rng.standard_normal((2, 5)).astype(np.float32)
    np.testing.assert_allclose(
        GraphRunner(model).run({"image one": x})["score/0"],
        session.run({"image one": x})["score/0"],
        rtol=0,
        atol=1e-6,
    )


def test_shapes_by_name_or_place() -> None:
    program = programs.Program(None, [TensorSpec("a", "float32", ("n", 5)), TensorSpec("b", "int64", (3,))], [])
    assert [s.shape for s in program.renewed({"#1": (7,), "a": (2, 5)})] == [(2, 5), (7,)]
    with pytest.raises(BadRecipe, match="no input 'c'"):
        program.renewed({"c": (1,)})


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [("x = 1", BadRecipe, "no load"), ("def load(): raise OSError('gone')", BadModel, "OSError: gone")],
    ids=["no-load", "load-fails"],
)
def test_sources_that_do_not_load(text: str, error: type, match: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(text)
    with pytest.raises(error, match=match):
        programs.load(tmp_path / "net.py")


def test_damaged_program(tmp_path: Path) -> None:
    (tmp_path / "net.pt2").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(BadModel, match="does not load"):
        programs.load(tmp_path / "net.pt2")
