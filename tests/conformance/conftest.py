"""One child per runtime serves all cells: starting a framework costs seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from recast._util.child import pool


@pytest.fixture(scope="package", autouse=True)
def _children() -> Iterator[None]:
    with pool():
        yield
