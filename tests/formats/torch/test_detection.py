"""Suppression of boxes in PyTorch source and in exported programs, with free numbers of images and boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import recast
from recast import formats
from recast.errors import UnsupportedOp
from recast.graph.build import Builder

from ...passes.checks import ort_run

F32 = ir.DataType.FLOAT


def network(most: int) -> ir.Model:
    b = Builder("boxes")
    boxes, scores = b.input("boxes", F32, ("n", "p", 4)), b.input("scores", F32, ("n", 3, "p"))
    limits = [b.const([most]), b.const([0.4], np.float32), b.const([0.3], np.float32)]
    b.output(b.op("NonMaxSuppression", [boxes, scores, *limits]), "y")
    return b.model()


@pytest.mark.parametrize("suffix", [".py", ".pt2"])
def test_same_choice(suffix: str, tmp_path: Path, rng: np.random.Generator) -> None:
    pytest.importorskip("torch")
    model, path = network(5), tmp_path / f"boxes{suffix}"
    recast.save(model.clone(), path)
    with formats.by_name("torch").open(path) as runner:
        for n, p in ((2, 13), (3, 29), (1, 2)):
            boxes = rng.integers(0, 5, (n, p, 4)).astype(np.float32)
            feeds = {"boxes": boxes, "scores": (rng.integers(0, 7, (n, 3, p)) / 7).astype(np.float32)}
            np.testing.assert_array_equal(runner.run(feeds)["y"], ort_run(model, feeds)[0])
        if suffix == ".py":
            none = {"boxes": np.zeros((2, 0, 4), np.float32), "scores": np.zeros((2, 3, 0), np.float32)}
            assert runner.run(none)["y"].shape == (0, 3)


def test_too_many_for_a_program(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOp, match="at most 512 boxes"):
        recast.save(network(1000), tmp_path / "boxes.pt2")
