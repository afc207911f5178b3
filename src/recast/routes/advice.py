"""Where our own reader or writer refuses a model, the error's fix names the routes that do not need it."""

from __future__ import annotations

from pathlib import Path

from recast import formats
from recast.errors import RecastError, UnsafeModel, UnsupportedOp, UnsupportedType
from recast.recipe import Recipe
from recast.routes._route import Route, catalogue
from recast.routes.kinds import TORCHSCRIPT, kind_of
from recast.routes.listing import state_of
from recast.routes.paths import ways

_RUNS_CODE = ("keras", "torch", TORCHSCRIPT)  # kinds whose own library may run code from the file
_ALSO = {
    "keras": "; name the module of custom layers with --import",
    TORCHSCRIPT: "; give the shapes of the inputs with --input",
}


def advise(error: RecastError, source: str, target: Path, recipe: Recipe, tried: bool) -> None:
    """Add the routes to ``error.fix``, if there are any; the error stays what it is.

    Args:
        tried: a tool is asked already: only the trust flag is worth a word then.
    """
    if not isinstance(error, UnsupportedOp | UnsupportedType | UnsafeModel):
        return
    try:
        kind = kind_of(source)
        writer = formats.by_name(recipe.writing.to) if recipe.writing.to else formats.for_writing(target)
    except RecastError:
        return
    if isinstance(error, UnsafeModel) and kind not in _RUNS_CODE:
        return  # the file reaches outside its folder: no tool should get it either
    if tried:
        if isinstance(error, UnsafeModel) and "--trust" not in error.fix:
            error.fix = f"{error.fix}; or pass --trust if the file is yours".removeprefix("; ")
        return
    trust = isinstance(error, UnsafeModel) or kind == TORCHSCRIPT
    told = [_told(route, trust) for route in routes_from(kind, writer.name, target.suffix.lower())]
    if told:
        error.fix = f"{error.fix}; or try {' or '.join(told)}{_ALSO.get(kind, '')}".removeprefix("; ")


def routes_from(kind: str, target: str, suffix: str) -> list[Route]:
    """Routes that take the source itself; those that are installed first, then those with fewer steps."""
    found = []
    for route in catalogue().values():
        direct = [w for w in ways(route, kind, target, suffix) if not w.before]
        if direct:
            found.append((not state_of(route).installed, bool(direct[0].after), route))
    return [route for *_, route in sorted(found, key=lambda f: f[:2])]


def _told(route: Route, trust: bool) -> str:
    state = state_of(route)
    missing = "" if state.installed else f" (not installed: {state.install})"
    return f"--via {route.name}{' --trust' if trust else ''}{missing}"
