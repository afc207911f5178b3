"""One child per runtime serves all cells, and a source is asked once for all targets: both cost seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from recast._util.child import pool
from recast.verification.memory import Memory


@pytest.fixture(scope="package", autouse=True)
def _children() -> Iterator[None]:
    with pool():
        yield


@pytest.fixture(scope="module")
def memory() -> Iterator[Callable[[str], Memory]]:
    """What the source of that name said to earlier cells; the sources come one after another."""
    held: dict[str, Memory] = {}

    def of(name: str) -> Memory:
        if name not in held:
            for other in held.values():
                other.__exit__(None, None, None)
            held.clear()
            held[name] = Memory()
        return held[name]

    yield of
    for other in held.values():
        other.__exit__(None, None, None)
