"""Convert a small trained network to every format, prove it, and compare its accuracy before and after."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from recast.cli.options import json_option


def configure(parser: ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--keep", metavar="DIR", type=Path, help="Keep the converted files in this folder.")
    json_option(parser)


def run(given: Namespace) -> bool:
    """Do it."""
    from recast.cli import show
    from recast.demo import run_demo

    with show.progress(given.json):
        rows: list[Any] = run_demo(given.keep)
    show.demo(rows, given.json)
    return not any(row.verdict == "failed" for row in rows)
