"""Formats are found by folder: each sub-package sets ``FORMAT``."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import Path

from recast.errors import BadModel, UnknownFormat
from recast.formats._format import Format


@cache
def catalogue() -> dict[str, Format]:
    """All formats by name."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if m.ispkg)
    found: dict[str, Format] = {f.name: f for f in (importlib.import_module(f"{__name__}.{n}").FORMAT for n in names)}
    for format_ in found.values():
        if format_.via:
            format_.borrow(found[format_.via])
    return found


def by_name(name: str) -> Format:
    """The format of that name.

    Raises:
        UnknownFormat: there is none.
    """
    found = catalogue().get(name.lower())
    if found is None:
        raise UnknownFormat(f"no format is called '{name}'", fix=f"one of: {', '.join(catalogue())}")
    return found


def for_writing(path: Path) -> Format:
    """The format that writes files of this suffix.

    Raises:
        UnknownFormat: no format does.
    """
    for format_ in catalogue().values():
        if format_.can_write and path.suffix.lower() in format_.suffixes:
            return format_
    known = sorted({s for f in catalogue().values() if f.can_write for s in f.suffixes})
    raise UnknownFormat(
        f"no format writes '{path.suffix or path.name}'", str(path), f"use one of {' '.join(known)} or pass --to"
    )


def of_file(path: Path) -> Format:
    """Recognise a file by its content; the suffix only breaks ties.

    Raises:
        BadModel: the file is not there or empty.
        UnknownFormat: no format recognises it.
    """
    if not path.exists():
        raise BadModel("there is no such file", str(path), "check the path")
    head = b""
    if path.is_file():
        with open(path, "rb") as file:
            head = file.read(4096)
        if not head:
            raise BadModel("the file is empty", str(path), "copy or export it again")
    found = [f for f in catalogue().values() if f.sniff(path, head)]
    found.sort(key=lambda f: path.suffix.lower() not in f.suffixes)
    if not found:
        raise UnknownFormat(
            "no format recognises the content of this file",
            str(path),
            "see 'recast formats' for what can be read; the file may be damaged",
        )
    return found[0]
