"""Every operator of the catalogue, written as PyTorch and run there: equal to ONNX Runtime, for several batch sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import recast
from recast.formats.torch import FORMAT
from recast.formats.torch.run import Session
from recast.formats.torch.writing import handlers
from recast.graph.build import Builder
from tests.formats.torch.torch_catalogue import CASES
from tests.formats.torch.torch_writing import compare, feeds_of, model_of, opened


@pytest.mark.parametrize("case", CASES)
def test_operator(case: str, tmp_path: Path, rng: np.random.Generator) -> None:
    model = model_of(CASES[case], rng)
    session = opened(model, tmp_path)
    for batch in (1, 3):
        compare(model, session, feeds_of(model, rng, batch))


def test_functions_that_are_kept_are_those_with_handlers() -> None:
    schemas = [s for s in onnx.defs.get_all_schemas() if s.domain == "" and not s.deprecated]
    functions = {s.name for s in schemas if s.has_function or s.has_context_dependent_function}
    assert FORMAT.keep_functions == functions & set(handlers())


def test_functions_without_handler_are_written_out(tmp_path: Path, rng: np.random.Generator) -> None:
    b = Builder()
    x = b.input("x", ir.DataType.FLOAT, ("batch", 13))
    b.output(b.op("Mul", [x, b.op("HannWindow", [b.const(13)])]), "y")
    recast.save(b.model(), tmp_path / "net.py")
    x = rng.standard_normal((3, 13)).astype(np.float32)
    found = Session(str(tmp_path / "net.py"), {"trust": True}).run({"x": x})["y"]
    np.testing.assert_allclose(found, x * np.sin(np.pi * np.arange(13) / 13) ** 2, rtol=0, atol=1e-6)


def test_windows_of_one_axis_are_added_up(tmp_path: Path, rng: np.random.Generator) -> None:
    """By hand: ONNX Runtime 1.32 ignores the strides of a one-dimensional Col2Im."""
    b = Builder()
    x = b.input("x", ir.DataType.FLOAT, ("batch", 6, 7))
    b.output(b.op("Col2Im", [x, b.const([17]), b.const([3])], {"strides": [2], "dilations": [2]}), "y")
    x = rng.standard_normal((3, 6, 7)).astype(np.float32)
    wanted = np.zeros((3, 2, 17), np.float32)
    for tap in range(3):
        for place in range(7):
            wanted[:, :, 2 * place + 2 * tap] += x.reshape(3, 2, 3, 7)[:, :, tap, place]
    found = opened(b.model(), tmp_path).run({"x": x})["y"]
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
