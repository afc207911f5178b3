"""One module a command, found by folder: its docstring is the help text, ``configure(parser)`` adds the options, and
``run(given) -> bool`` does it (False: exit code 6). Heavy modules are imported inside ``run``, so help is instant.
"""

from __future__ import annotations

import importlib
import pkgutil
from argparse import ArgumentParser, Namespace
from typing import Protocol, cast

_FIRST = ("convert", "compress", "evaluate", "tune", "verify", "inspect")  # the order of the help page; others follow


class Command(Protocol):
    """What a module of this folder offers."""

    __doc__: str | None

    def configure(self, parser: ArgumentParser) -> None:
        """Add the command's options."""

    def run(self, given: Namespace) -> bool:
        """Do it; False where a result was judged and failed."""


def catalogue() -> dict[str, Command]:
    """All commands by name, in the order of the help page."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__))
    names.sort(key=lambda n: _FIRST.index(n) if n in _FIRST else len(_FIRST))
    return {n: cast(Command, importlib.import_module(f"{__name__}.{n}")) for n in names}
