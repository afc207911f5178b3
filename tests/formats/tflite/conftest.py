"""One LiteRT process for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tflite_graphs import Judge


@pytest.fixture(scope="session")
def litert() -> Iterator[Judge]:
    judge = Judge()
    yield judge
    judge.close()
