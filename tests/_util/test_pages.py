"""Mapped files are handed back, and hold the same bytes afterwards."""

from __future__ import annotations

import weakref
from pathlib import Path

import numpy as np
import psutil
import pytest

from recast._util import pages
from recast._util.bounded import open_bytes

SIZE = 61 << 20


def resident() -> int:
    """Bytes of this process that are pages of files."""
    info = psutil.Process().memory_info()
    return int(info.shared)


@pytest.mark.skipif(not hasattr(__import__("mmap"), "MADV_DONTNEED"), reason="the system cannot drop pages")
def test_used_pages_are_dropped_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_used", 0)
    path = tmp_path / "large"
    np.random.default_rng(5).integers(0, 256, SIZE, np.uint8).tofile(path)
    before = resident()
    array = np.frombuffer(open_bytes(path), np.uint8)
    total = int(array.sum(dtype=np.int64))
    assert resident() - before > SIZE * 0.9  # read, and still there
    pages.used(SIZE)
    assert resident() - before > SIZE * 0.9  # too little to bother
    pages.used(SIZE)
    assert resident() - before < SIZE * 0.2
    assert int(array.sum(dtype=np.int64)) == total


def test_a_closed_mapping_is_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "small"
    path.write_bytes(b"abc")
    view = open_bytes(path)
    mapping = view.obj
    view.release()
    mapping.close()
    pages.used(1 << 30)


def test_dead_memory_goes() -> None:
    class Node:
        other: object = None

    alive, node = [], Node()
    node.other = node
    node.data = np.ones(SIZE, np.uint8)  # type: ignore[attr-defined]
    alive.append(weakref.ref(node))
    del node
    pages.trim()
    assert alive[0]() is None
