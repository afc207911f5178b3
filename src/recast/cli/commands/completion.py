"""Print a completion script: eval "$(recast completion bash)"."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace


def configure(parser: ArgumentParser) -> None:
    """The options."""
    parser.add_argument("shell", choices=("bash", "zsh"))


def run(given: Namespace) -> bool:
    """Do it."""
    from recast._util.optional import need
    from recast.cli.app import make_parser

    sys.stdout.write(need("shtab", "cli").complete(make_parser(), given.shell) + "\n")
    return True
