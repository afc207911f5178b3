"""One MindSpore process judges all tests of this folder; a crash costs one test, not the session."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the modules beside this one, in every import mode of pytest

from mindir_judge import Judge  # noqa: E402


@pytest.fixture(scope="session")
def judge() -> Iterator[Judge]:
    if importlib.util.find_spec("mindspore") is None:
        pytest.skip("MindSpore is not installed")
    held = Judge()
    yield held
    held.close()
