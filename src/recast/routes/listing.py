"""All routes from one kind of model to another, as rows: ours, through another format, through a tool."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from recast import formats, pipeline
from recast._util.optional import have
from recast.errors import BadRecipe, RecastError
from recast.routes import interpreters
from recast.routes._route import Route, catalogue
from recast.routes.kinds import WEIGHTS, format_of, kind_of, named
from recast.routes.paths import ways

Kind = Literal["direct", "third-party", "intermediate"]


@dataclass(frozen=True)
class Row:
    """One route.

    Attributes:
        kind: ``direct`` (ours), ``third-party`` (a tool alone), ``intermediate`` (through another format).
        steps: formats, and what leads from one to the next.
        default: whether ``recast convert`` takes it when nothing is said.
        installed: whether everything that it needs is there.
        version: of the tool.
        where: which Python runs it.
        install: how to get what is missing.
        option: what ``recast convert`` must be told to take it.
        refused: why our reader does not take this very file.
    """

    name: str
    kind: Kind
    steps: tuple[str, ...]
    default: bool
    installed: bool
    version: str = ""
    where: str = ""
    install: str = ""
    option: str = ""
    refused: str = ""


def rows(source: str, target: str) -> list[Row]:
    """Every route of a pair, the default first.

    Args:
        source: a file, suffix, format name, or ``package.module:factory``.
        target: a file name, suffix or format name.

    Raises:
        BadModel, UnknownFormat: one of them is not known.
        BadRecipe: the source has no graph.
    """
    kind = kind_of(source)
    if kind == WEIGHTS:
        raise BadRecipe("the source holds weights without a graph", source, "name the architecture's factory")
    goal = kind_of(target) if Path(target).exists() else named(target)
    return [*_ours(source, kind, goal), *sorted(_others(kind, goal, Path(target).suffix.lower()), key=_order)]


def _order(row: Row) -> tuple[bool, int]:
    return not row.installed, len(row.steps)


def _ours(source: str, kind: str, goal: str) -> Iterator[Row]:
    from recast import __version__

    reader, writer = formats.catalogue().get(format_of(kind)), formats.catalogue()[goal]
    if reader is None or not (reader.can_read and reader.has_graph and writer.can_write):
        return
    steps = (kind, "recast", writer.via, writer.judge[0], goal) if writer.via else (kind, "recast", goal)
    refused = "" if reader.name == "torch" else _refusal(source)  # PyTorch's sources are code to run
    there = not writer.via or not writer.judge[0] or have(writer.judge[0].partition(".")[0])
    install = "" if there else f"pip install 'recast-nn[{writer.judge[1]}]'"
    way: Kind = "intermediate" if writer.via else "direct"
    yield Row("recast", way, steps, not refused, there, __version__, "this Python", install, refused=refused)


def _refusal(source: str) -> str:
    """Why our reader does not take a file; "" where it does, or where there is no file."""
    path = Path(source)
    if not path.exists():
        return ""
    try:
        pipeline.load(path)
    except RecastError as error:
        return error.what
    return ""


def _others(kind: str, goal: str, suffix: str) -> Iterator[Row]:
    for route in catalogue().values():
        found = ways(route, kind, goal, suffix)
        for number, one in enumerate(found):
            if number and (one.before or not found[0].before):
                continue  # a longer way is of use only where the source cannot be read
            state = state_of(route)
            plain = not one.before and not one.after
            option = f"--via {route.name}" if not number else ""
            yield Row(
                route.name, "third-party" if plain else "intermediate", tuple(one.steps(kind)), False, state.installed,
                state.version, state.where, state.install, option,
            )  # fmt: skip


@dataclass(frozen=True)
class State:
    """Whether a route is installed, which version, where, how to get it."""

    name: str
    title: str
    edges: tuple[tuple[str, str], ...]
    installed: bool
    version: str
    where: str
    install: str


def state_of(route: Route) -> State:
    """One route as it is here; an interpreter that does not answer counts as not installed, and says why."""
    try:
        found = interpreters.find(route)
    except RecastError as error:
        return State(route.name, route.title, route.edges, False, "", str(error.where), error.fix)
    install = "" if found.ready else f"recast routes --install {route.name}"
    version = found.version if found.ready else ""
    return State(route.name, route.title, route.edges, found.ready, version, found.told, install)


def states() -> list[State]:
    """All routes."""
    return [state_of(route) for route in catalogue().values()]
