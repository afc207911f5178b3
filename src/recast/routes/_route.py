"""What a route is, and the catalogue: each file under ``tools/`` is one."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from recast.errors import BadRecipe, InternalError
from recast.routes import tools


@dataclass(frozen=True)
class Route:
    """One third-party converter.

    Attributes:
        name: what ``--via`` takes.
        title: what it is.
        tool: the distribution whose version the certificate names.
        packages: pinned requirements of a private environment.
        needs: modules that must be importable.
        edges: (kind of source, target format) pairs that it converts.
        file: where its child side lies.
    """

    name: str
    title: str
    tool: str
    packages: tuple[str, ...]
    needs: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]
    file: Path
    options: frozenset[str] = frozenset()
    targets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # suffixes, where not all of a format
    opset: int | None = None  # of ONNX files that it takes, where it does not take the newest

    def makes(self, target: str, suffix: str) -> bool:
        """Whether it writes such files of a format; "" is any suffix."""
        return target not in self.targets or not suffix or suffix in self.targets[target]


@cache
def catalogue() -> dict[str, Route]:
    """All routes by name.

    Raises:
        InternalError: a file lacks a fact.
    """
    return {route.name: route for route in map(_route, sorted(m.name for m in pkgutil.iter_modules(tools.__path__)))}


def _route(module_name: str) -> Route:
    module = importlib.import_module(f"{tools.__name__}.{module_name}")
    try:
        return Route(
            module_name.replace("_", "-"),
            module.TITLE,
            module.TOOL,
            tuple(module.PACKAGES),
            tuple(module.NEEDS),
            tuple(module.EDGES),
            Path(str(module.__file__)),
            frozenset(module.OPTIONS),
            dict(getattr(module, "TARGETS", {})),
            getattr(module, "OPSET", None),
        )
    except AttributeError as error:
        raise InternalError(f"a route lacks a fact: {error}", module_name) from error


def by_name(name: str) -> Route:
    """The route of that name.

    Raises:
        BadRecipe: there is none.
    """
    found = catalogue().get(name.lower().replace("_", "-"))
    if found is None:
        raise BadRecipe(f"no route is called '{name}'", fix=f"one of: {', '.join(catalogue())}")
    return found
