"""The parser, made from the commands that lie in ``commands/``."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence

from recast.cli.commands import catalogue

_ABOUT = "Convert neural networks between frameworks, and prove the result."
_EXAMPLES = """\
examples:
  recast convert model.h5 model.tflite
  recast convert package.module:factory model.onnx --weights model.pt --input 1,3,224,224
  recast verify model.h5 model.onnx
"""


def app(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments (``sys.argv`` by default) and run the command.

    Raises:
        SystemExit: 2 for wrong usage, 6 for a result that does not match; 0 after help or version.
    """
    parser = make_parser()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given:
        parser.print_help()
        raise SystemExit(2)
    chosen = parser.parse_args(given)
    passed: bool = chosen.run(chosen)
    if not passed:
        raise SystemExit(6)


def make_parser() -> ArgumentParser:
    """The whole command line."""
    parser = ArgumentParser(
        "recast", description=_ABOUT, epilog=_EXAMPLES, formatter_class=RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"recast {_version()}", help="Print the version.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, command in catalogue().items():
        text = (command.__doc__ or "").strip()
        made = commands.add_parser(name, help=text.partition("\n")[0], description=text, allow_abbrev=False)
        command.configure(made)
        made.set_defaults(run=command.run)
    return parser


def _version() -> str:
    from recast import __version__

    return __version__
