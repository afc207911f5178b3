"""List the ways from SRC to DST, third-party converters among them; or install one of those."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from recast.cli.options import json_option
from recast.errors import BadRecipe


def configure(parser: ArgumentParser) -> None:
    """The options."""
    add = parser.add_argument
    add("source", metavar="SRC", nargs="?", default="", help="A model, a suffix, or a format's name.")
    add("target", metavar="DST", nargs="?", default="", help="A file name, a suffix, or a format's name.")
    add("--install", metavar="NAME", default="", help="Make a private environment for a converter, pinned versions.")
    add("--python", metavar="PATH", type=Path, help="The Python that --install makes it with.")
    json_option(parser)


def run(given: Namespace) -> bool:
    """Do it."""
    from recast.cli import show, show_routes
    from recast.routes import install, listing
    from recast.routes._route import by_name

    if given.install:
        route = by_name(given.install)
        with show.progress(given.json):
            python, new = install.install(route, given.python)
        show_routes.installed(listing.state_of(route), (python, new), given.json)
    elif given.source and given.target:
        show_routes.rows(listing.rows(given.source, given.target), given.json)
    elif given.source:
        raise BadRecipe("DST is missing", fix="recast routes SRC DST, or recast routes alone")
    else:
        show_routes.states(listing.states(), given.json)
    return True
