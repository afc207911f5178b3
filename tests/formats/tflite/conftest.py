"""One LiteRT process for all tests of this folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the modules beside this one, in every import mode of pytest

from tflite_graphs import Judge  # noqa: E402


@pytest.fixture(scope="session")
def litert() -> Iterator[Judge]:
    judge = Judge()
    yield judge
    judge.close()
