"""Outputs are written whole or not at all: staged beside the target, synced, then renamed."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recast.errors import OutputExists, OutputFailed


def check_free(path: Path, force: bool) -> None:
    """Refuse an output that exists (without ``force``) or is not a plain file or folder.

    Raises:
        OutputExists: it is there and ``force`` is false, or it is a symbolic link or device.
        OutputFailed: its folder does not exist.
    """
    if path.is_symlink() or (path.exists() and not (path.is_file() or path.is_dir())):
        raise OutputExists("the output is a link or a device", str(path), "name a plain file")
    if path.exists() and not force:
        raise OutputExists("the output already exists", str(path), "choose another name or pass --force")
    if not path.parent.is_dir():
        raise OutputFailed("the folder of the output does not exist", str(path.parent), "create it first")


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """A private folder beside ``target``; it is removed at the end whatever happens.

    Raises:
        OutputFailed: the folder cannot be made or the disk is full while it is used.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".recast", dir=target.parent))
    except OSError as error:
        raise OutputFailed(
            f"cannot write here: {error.strerror}", str(target.parent), "free or choose a folder"
        ) from error
    try:
        yield folder
    except OSError as error:
        raise OutputFailed(
            f"writing failed: {error.strerror or error}", str(target), "free disk space and retry"
        ) from error
    finally:
        try:
            os.rmdir(folder)  # after a commit it is empty
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)


def commit(staged: list[tuple[Path, Path]]) -> None:
    """Sync the staged files and rename each to its final name; the last pair (the main file) goes last.

    Raises:
        OutputFailed: a sync or rename failed; the old files that were not yet replaced are intact.
    """
    try:
        for source, _ in staged:
            for file in [source, *source.rglob("*")] if source.is_dir() else [source]:
                _sync(file)
        with undisturbed():
            for source, target in staged:
                if source.is_dir() and target.is_dir():
                    old = Path(tempfile.mkdtemp(dir=source.parent))
                    os.rename(target, old / "old")
                os.replace(source, target)
        for folder in {target.parent for _, target in staged}:
            _sync(folder)
    except OSError as error:
        where = str(staged[-1][1])
        raise OutputFailed(f"writing failed: {error.strerror or error}", where, "free disk space and retry") from error


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait for the end of the block: files that belong together are renamed together."""
    if threading.current_thread() is not threading.main_thread():  # signals are handled in the main thread only
        yield
        return
    came: list[int] = []
    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not None]
    before = {n: signal.signal(n, lambda number, _: came.append(number)) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for first in came[:1]:
            signal.raise_signal(first)


def write_bytes(path: Path, data: bytes) -> None:
    """Write one small file atomically (it replaces an old one)."""
    with staging(path) as folder:
        staged = folder / path.name
        staged.write_bytes(data)
        commit([(staged, path)])


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
