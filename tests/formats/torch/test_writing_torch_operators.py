"""Every operator of the catalogue, written as PyTorch and run there: equal to ONNX Runtime, for several batch sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.formats.torch.torch_catalogue import CASES
from tests.formats.torch.torch_writing import compare, feeds_of, model_of, opened


@pytest.mark.parametrize("case", CASES)
def test_operator(case: str, tmp_path: Path, rng: np.random.Generator) -> None:
    model = model_of(CASES[case], rng)
    session = opened(model, tmp_path)
    for batch in (1, 3):
        compare(model, session, feeds_of(model, rng, batch))
