"""Which files of code this process made: only such files are executed without asking. Imports nothing heavy."""

from __future__ import annotations

import hashlib
from pathlib import Path

_written: set[str] = set()  # SHA-256 of every file of code that this process made


def sha256(path: Path) -> str:
    """Hash of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remember(path: Path) -> None:
    """Note that this process made the file."""
    _written.add(sha256(path))


def made_here() -> list[str]:
    """Hashes of the files of code that this process made."""
    return sorted(_written)
