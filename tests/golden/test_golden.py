"""Files that earlier versions wrote still read the same, and today's writers still write the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import recast
from recast import formats
from recast.demo import MODEL

FILES = Path(__file__).with_name("files")
READABLE = ["digits.onnx", "digits.tflite", "digits.h5", "digits.keras", "digits.mindir"]
WRITTEN = [*READABLE, "digits.py", "digits.safetensors"]
UNPROVED = recast.Recipe(checking=recast.Checking(verify=False))


@pytest.mark.parametrize("name", READABLE)
def test_reads_as_before(name: str, tmp_path: Path) -> None:
    recast.convert(FILES / name, tmp_path / "read.onnx", UNPROVED)
    with np.load(FILES / "expected.npz") as expected:
        image, scores = expected["image"], expected["scores"]
    with formats.by_name("onnx").open(tmp_path / "read.onnx") as runner:
        (found,) = runner.run({runner.inputs[0].name: image}).values()
    np.testing.assert_allclose(found, scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", WRITTEN)
def test_writes_the_same_bytes(name: str, tmp_path: Path) -> None:
    target = tmp_path / name.replace(".safetensors", ".py")
    recast.convert(MODEL, target, UNPROVED)
    assert (tmp_path / name).read_bytes() == (FILES / name).read_bytes(), "run scripts/make_golden.py if this is meant"
