"""Ways from a kind of source to a target format through one tool: alone, after our writer, or before our reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recast import formats
from recast.errors import BadRecipe
from recast.routes._route import Route
from recast.routes.kinds import WEIGHTS, format_of

_SUFFIXES = {"torch": ".py", "keras": ".keras", "savedmodel": ".savedmodel"}  # of intermediate files


@dataclass(frozen=True)
class Way:
    """One way through a tool.

    Attributes:
        before: format that Recast writes for the tool, or "" where the tool takes the source itself.
        edge: what the tool takes, and the format that it makes.
        after: format that Recast makes of the tool's file, or "".
    """

    route: Route
    before: str
    edge: tuple[str, str]
    after: str

    def steps(self, kind: str) -> list[str]:
        """``["keras", "recast", "onnx", "onnx2torch", "torch"]``: formats and what leads from one to the next."""
        first = [kind, "recast", self.edge[0]] if self.before else [kind]
        last = ["recast", self.after] if self.after else []
        return [*first, self.route.name, self.edge[1], *last]

    def text(self, kind: str) -> str:
        """The steps for people."""
        return arrows(self.steps(kind))


def arrows(steps: Sequence[str]) -> str:
    """``keras –tf2onnx→ onnx``."""
    return steps[0] + "".join(f" –{how}→ {what}" for how, what in zip(steps[1::2], steps[2::2], strict=True))


def ways(route: Route, kind: str, target: str, suffix: str = "") -> list[Way]:
    """All ways of one route, the shortest first, then those where the tool takes the source itself.

    Args:
        kind: of the source.
        target: format.
        suffix: of the target; "" is any.
    """
    catalogue = formats.catalogue()
    reader = catalogue.get(format_of(kind))
    readable = reader is not None and reader.can_read and reader.has_graph
    found = []
    for edge in route.edges:
        takes = edge[0] == kind
        written = readable and edge[0] in catalogue and catalogue[edge[0]].can_write
        if edge[1] == target and route.makes(target, suffix):
            if written and (not takes or _anew(route, kind)):
                found.append(Way(route, edge[0], edge, ""))
            if takes:
                found.append(Way(route, "", edge, ""))
        elif takes and edge[1] != target and _leads_on(edge[1], target):
            found.append(Way(route, "", edge, target))
    return sorted(found, key=lambda w: (bool(w.after) + bool(w.before not in ("", kind)), w.before != kind))


def _anew(route: Route, kind: str) -> bool:
    """Whether a file of the tool's own format is written anew first: in the version that it takes."""
    return kind == "onnx" and route.opset is not None


def _leads_on(made: str, target: str) -> bool:
    """Whether we read what a tool makes, without running it, and write the target from it."""
    return formats.by_name(made).can_read and made != "torch" and _writes(target)


def _writes(target: str) -> bool:
    found = formats.catalogue().get(target)
    return found is not None and found.can_write and found.has_graph


def way(route: Route, kind: str, target: str, suffix: str) -> list[Way]:
    """The ways that ``--via`` tries, in this order; see ``ways``.

    Raises:
        BadRecipe: the route does not lead there.
    """
    found = ways(route, kind, target, suffix)
    if found:
        return found
    if kind == WEIGHTS:
        raise BadRecipe("the source holds weights without a graph", fix="no route can convert it")
    reach = ", ".join(f"{a} → {b}" for a, b in route.edges)
    made = " ".join(route.targets.get(target, ()))
    note = f"; of {target} it writes {made} only" if made else ""
    raise BadRecipe(f"{route.name} does not lead from {kind} to {target}{note}", fix=f"it converts {reach}")


def suffix_of(format_name: str, route: Route) -> str:
    """The suffix of an intermediate file."""
    made = route.targets.get(format_name)
    return made[0] if made else _SUFFIXES.get(format_name, formats.by_name(format_name).suffixes[0])
