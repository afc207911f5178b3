"""Bounded reading: every size in a file is checked against the file before anything is allocated."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Iterable
from pathlib import Path

from recast._util import pages
from recast.errors import BadModel, RecastError, TooLarge, UnsafeModel

MAX_DEPTH = 200
MAX_NODES = 1_000_000


def open_bytes(path: Path) -> memoryview:
    """Map a file read-only. An empty file gives an empty view.

    Raises:
        BadModel: the file is missing, a folder, or unreadable.
    """
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return memoryview(b"")
            return memoryview(pages.watch(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    except OSError as error:
        raise BadModel(
            f"cannot read the file: {error.strerror}", str(path), "check the path and permissions"
        ) from error


def element_count(shape: Iterable[int], where: str) -> int:
    """Number of elements of a shape read from a file.

    Raises:
        BadModel: a dimension is negative.
    """
    dims = [int(d) for d in shape]
    if any(d < 0 for d in dims):
        raise BadModel(f"negative dimension in shape {dims}", where, "the file is damaged: export it again")
    return math.prod(dims)


def check_size(declared_bytes: int, available_bytes: int, where: str) -> None:
    """Refuse a declared size that the file cannot hold.

    Raises:
        TooLarge: more is declared than is there.
    """
    if declared_bytes > available_bytes:
        raise TooLarge(
            f"{declared_bytes} bytes are declared, {available_bytes} are in the file",
            where,
            "the file is truncated or damaged: copy or export it again",
        )


def inside(folder: Path, name: str, where: str) -> Path:
    """Resolve a file name found in a model; it must stay in the model's folder.

    Raises:
        UnsafeModel: the name is absolute or leads outside (``..``, symbolic links).
    """
    root = folder.resolve()
    target = (root / name).resolve()
    if os.path.isabs(name) or not target.is_relative_to(root):
        raise UnsafeModel(
            f"the model refers to '{name[:200]}', outside its folder", where, "keep external data beside the model"
        )
    return target


def as_bad_model(error: Exception, where: str) -> RecastError:
    """Turn any exception of a parser into one clear error (RecastErrors pass through)."""
    if isinstance(error, RecastError):
        return error
    return BadModel(
        f"the file is damaged or not what its format allows ({type(error).__name__}: {str(error)[:200]})",
        where,
        "export or copy the file again",
    )
