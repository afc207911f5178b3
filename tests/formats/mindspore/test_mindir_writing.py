"""Each graph operator, written as MindIR, computes in MindSpore what ONNX Runtime computes on the graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mindir_catalogue import CASES, feeds_of, model_of
from mindir_judge import Judge, assert_same, reference, written


@pytest.mark.parametrize("name", sorted(CASES))
def test_operator(name: str, judge: Judge, tmp_path: Path, rng: np.random.Generator) -> None:
    model = model_of(name, rng)
    path = written(model, tmp_path / "net.mindir")
    feeds = feeds_of(model, rng)
    assert_same(judge.run(path, feeds), reference(model, feeds))
