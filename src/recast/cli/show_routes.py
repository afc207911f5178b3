"""Draw the routes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from recast.cli.show import _console, _table, json_object, say
from recast.routes.paths import arrows

if TYPE_CHECKING:
    from recast.routes.listing import Row, State


def rows(found: Sequence[Row], as_json: bool) -> None:
    """The ways from one format to another."""
    if as_json:
        json_object([asdict(row) for row in found])
        return
    if not found:
        say("no way leads there")
        return
    drawn = _table("", "", "route", "kind", "steps", "version", "installed")
    for row in found:
        state = row.where if row.installed else f"no: {row.install}"
        name = row.option or row.name
        drawn.add_row("*" if row.default else "", name, row.kind, arrows(row.steps), row.version, state)
    _console().print(drawn)
    for row in found:
        if row.refused:
            say(f"{row.name} refuses this file: {row.refused}")
        if row.default:
            say("* is taken by 'recast convert SRC DST'")


def states(found: Sequence[State], as_json: bool) -> None:
    """All third-party converters."""
    if as_json:
        json_object([asdict(state) for state in found])
        return
    drawn = _table("", "name", "what", "from → to", "version", "installed")
    for state in found:
        edges = ", ".join(f"{a} → {b}" for a, b in state.edges)
        where = state.where if state.installed else f"no: {state.install}"
        drawn.add_row(state.name, state.title, edges, state.version, where)
    _console().print(drawn)


def installed(state: State, made: tuple[Path, bool], as_json: bool) -> None:
    """What ``--install`` did."""
    python, new = made
    if as_json:
        json_object({**asdict(state), "python": str(python), "new": new})
        return
    say(f"{state.name} {state.version}: {'installed' if new else 'was installed already'}")
    say(f"  {python}")
