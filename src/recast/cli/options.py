"""Options that several commands share."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from recast.errors import BadRecipe

if TYPE_CHECKING:
    from recast.recipe import Reading
    from recast.routes.through import Via

TRUST = "Allow files whose own library runs code from them (.py, .pt2)."


def parse_inputs(texts: list[str] | None) -> dict[str, tuple[int | str, ...]]:
    """``NAME=1,3,h,224`` → ``{"NAME": (1, 3, "h", 224)}``; the name may be left out for a PyTorch factory.

    Raises:
        BadRecipe: a dimension is neither a positive number nor a name.
    """
    shapes: dict[str, tuple[int | str, ...]] = {}
    for number, text in enumerate(texts or []):
        name, equals, dims = text.rpartition("=")
        parts = [p.strip() for p in dims.split(",")]
        if not all(p.isidentifier() or (p.isdigit() and int(p) > 0) for p in parts):
            raise BadRecipe(f"--input {text}: not a shape", fix="write NAME=1,3,224,224; a word is a dynamic dimension")
        key = name if equals else f"#{number}"
        shapes[key] = tuple(int(p) if p.isdigit() else p for p in parts)
    return shapes


def json_option(parser: ArgumentParser) -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help="Print one JSON object instead of text.")


def reading_options(parser: ArgumentParser) -> None:
    """How a source is read; ``reading`` makes them a ``Reading``."""
    add = parser.add_argument
    add("--input", metavar="NAME=1,3,224,224", action="append", help="Shape of an input (repeatable).")
    add("--weights", metavar="FILE", type=Path, help="Checkpoint for a PyTorch factory.")
    add("--task", metavar="TASK", default="", help="Of a Hugging Face folder: text-generation-with-past, encoder, ...")
    add("--trust", action="store_true", help=TRUST)


def reading(given: Namespace) -> Reading:
    """What ``reading_options`` were given as.

    Raises:
        BadRecipe: ``--input`` is not a shape.
    """
    from recast.recipe import Reading

    return Reading(parse_inputs(given.input), given.weights, given.trust, given.task)


def checking_options(parser: ArgumentParser) -> None:
    """What a result is proved with."""
    parser.add_argument("--data", metavar="FILE.npz", type=Path, help="Real samples: arrays named as the inputs.")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="Seed of the generated feeds (default 0).")


def via_options(parser: ArgumentParser) -> None:
    """Third-party converters; ``via`` makes them a ``Via``."""
    add = parser.add_argument_group("third-party converters (see 'recast routes')").add_argument
    add("--via", metavar="NAME", default="", help="Convert with this tool, in a child process; verified like ours.")
    add("--python", metavar="PATH", type=Path, help="The Python that has the tool.")
    add("--import", metavar="MODULE|FILE.py", dest="imports", action="append", help="Custom layers (repeatable).")
    add("--tool-timeout", metavar="S", type=float, default=1800.0, help="Seconds that the tool may take (1800).")
    add("--tool-memory", metavar="MB", type=float, default=0.0, help="Memory that it may take (no limit).")


def via(given: Namespace) -> Via | str:
    """What ``via_options`` were given as; "" is our own route.

    Raises:
        BadRecipe: an option of a tool without a tool.
    """
    if not given.via:
        lost = [n for n, v in (("--python", given.python), ("--import", given.imports)) if v]
        if lost:
            raise BadRecipe(f"{' and '.join(lost)} without --via", fix="name the tool: --via NAME")
        return ""
    from recast.routes.through import Via
    from recast.routes.tool import Bounds

    bounds = Bounds(given.tool_timeout, int(given.tool_memory * 1e6))
    return Via(given.via, given.python, tuple(given.imports or ()), bounds)
