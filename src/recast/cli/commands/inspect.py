"""Show inputs, outputs, layers, operators and sizes of a model."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from recast.cli.options import json_option, reading, reading_options


def configure(parser: ArgumentParser) -> None:
    """The options."""
    parser.add_argument("model", metavar="MODEL", help="Model file, or package.module:factory.")
    reading_options(parser)
    json_option(parser)


def run(given: Namespace) -> bool:
    """Do it."""
    from recast import pipeline
    from recast.cli import show

    show.summary(pipeline.inspect(given.model, reading(given)), given.json)
    return True
