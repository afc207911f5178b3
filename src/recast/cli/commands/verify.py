"""Run two model files in their own runtimes on the same inputs and compare."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from recast.cli.options import TRUST, checking_options, json_option


def configure(parser: ArgumentParser) -> None:
    """The options."""
    parser.add_argument("first", metavar="A", type=Path)
    parser.add_argument("second", metavar="B", type=Path)
    parser.add_argument("--trust", action="store_true", help=TRUST)
    checking_options(parser)
    json_option(parser)


def run(given: Namespace) -> bool:
    """Do it."""
    from recast import pipeline
    from recast.cli import show
    from recast.recipe import Checking

    with show.progress(given.json):
        checking = Checking(data=given.data, seed=given.seed)
        report = pipeline.verify(given.first, given.second, checking, given.trust)
    show.verification(report, given.json)
    return report.passed
