"""The Keras writer, operator by operator: stock Keras loads the file and computes what ONNX Runtime computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recast.graph.build import Builder
from tests.formats.keras.keras_judge import check
from tests.formats.keras.writing_cases import CASES, FLOAT

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.mark.parametrize("name", CASES)
def test_operator_equals_onnxruntime(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    shape, body = CASES[name]

    def draw(*dims: int) -> np.ndarray:
        return np.asarray(rng.standard_normal(dims) * 0.5, np.float32)

    b = Builder(name)
    batch: str | int = shape[0] if name in ("Concat-constant", "Transpose-batch") else "batch"
    x = b.input("x", FLOAT, (batch, *shape[1:]))
    with b.layer("the/op", name.split("-")[0]):
        y = body(b, x, draw)
    b.output(y, "y")
    check(b.model(), {"x": draw(*shape)}, tmp_path)
