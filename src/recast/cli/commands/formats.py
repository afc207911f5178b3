"""List the formats, and which judges are installed."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from recast.cli.options import json_option


def configure(parser: ArgumentParser) -> None:
    """The options."""
    json_option(parser)


def run(given: Namespace) -> bool:
    """Do it."""
    from recast.cli import show
    from recast.formats import catalogue

    show.formats(list(catalogue().values()), given.json)
    return True
