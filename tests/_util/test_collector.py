"""The collector's threshold is the caller's again after conversions, however they overlap."""

from __future__ import annotations

import gc

import pytest

from recast._util import collector


@pytest.mark.parametrize("own", [(700, 10, 10), (0, 10, 10), (90_000, 3, 2)])
def test_threshold_comes_back(own: tuple[int, int, int]) -> None:
    kept = gc.get_threshold()
    try:
        gc.set_threshold(*own)
        first, second = collector.rarely(), collector.rarely()
        first.__enter__()
        assert gc.get_threshold()[0] == (50_000 if own[0] == 700 else own[0])
        second.__enter__()
        first.__exit__(None, None, None)  # as of two threads: the first leaves while the second goes on
        assert gc.get_threshold()[0] == (50_000 if own[0] == 700 else own[0])
        second.__exit__(None, None, None)
        assert gc.get_threshold() == own
    finally:
        gc.set_threshold(*kept)
