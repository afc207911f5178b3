"""Every operator of the catalogue as a SavedModel and as a frozen graph, against TensorFlow itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from . import tf_judge
from .savedmodel_catalogue import CASES
from .savedmodel_images import IMAGES

pytest.importorskip("tensorflow")
ALL = CASES | IMAGES
LOOSE = {"Erfc-unary": 1e-4, "Tan-unary": 2e-3, "Pow-division": 1e-4}


@pytest.mark.parametrize("name", ALL)
def test_frozen(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    case = ALL[name]
    made = tf_judge.freeze(case, tmp_path / "graph.pb")
    assert set(case.ops) <= tf_judge.operators(made)
    tf_judge.check(tmp_path / "graph.pb", made, case.feeds(rng), LOOSE.get(name, 2e-5))
