"""The commands. Heavy modules are imported inside them, so ``recast --help`` is instant."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from recast.errors import BadRecipe

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
    parser = _parser()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given:
        parser.print_help()
        raise SystemExit(2)
    chosen = parser.parse_args(given)
    passed: bool = chosen.run(chosen)
    if not passed:
        raise SystemExit(6)


_TRUST = "Allow files whose own library runs code from them (.py, .pt2)."


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


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        "recast", description=_ABOUT, epilog=_EXAMPLES, formatter_class=RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"recast {_version()}", help="Print the version.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(run: Callable[[Namespace], bool]) -> ArgumentParser:
        text = run.__doc__ or ""
        made = commands.add_parser(run.__name__, help=text, description=text, allow_abbrev=False)
        made.set_defaults(run=run)
        return made

    _convert_options(command(convert))
    judged = command(verify)
    judged.add_argument("first", metavar="A", type=Path)
    judged.add_argument("second", metavar="B", type=Path)
    judged.add_argument("--trust", action="store_true", help=_TRUST)
    _checking_options(judged)
    shown = command(inspect)
    shown.add_argument("model", metavar="MODEL", help="Model file, or package.module:factory.")
    _reading_options(shown)
    shown = command(formats)
    _json_option(shown)
    shown = command(demo)
    shown.add_argument("--keep", metavar="DIR", type=Path, help="Keep the converted files in this folder.")
    _json_option(shown)
    command(completion).add_argument("shell", choices=("bash", "zsh"))
    return parser


def _version() -> str:
    from recast import __version__

    return __version__


def _json_option(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="Print one JSON object instead of text.")


def _reading_options(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--input", metavar="NAME=1,3,224,224", action="append", help="Shape of an input (repeatable).")
    add("--weights", metavar="FILE", type=Path, help="Checkpoint for a PyTorch factory.")
    add("--trust", action="store_true", help=_TRUST)
    _json_option(parser)


def _checking_options(parser: ArgumentParser, json: bool = True) -> None:
    parser.add_argument("--data", metavar="FILE.npz", type=Path, help="Real samples: arrays named as the inputs.")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="Seed of the generated feeds (default 0).")
    if json:
        _json_option(parser)


def _convert_options(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("source", metavar="SRC", help="Model file, folder, or package.module:factory.")
    add("target", metavar="DST", type=Path, help="Output; its suffix chooses the format.")
    add("--to", metavar="FMT", default="", help="Format, if the suffix does not tell.")
    add("--batch", metavar="dynamic|N", default="", help="Fix or free the batch dimension.")
    add("--io-layout", metavar="keep|nhwc|nchw|auto", default="keep", help="Axes of inputs and outputs.")
    add("--dtype", metavar="float16", default="", help="Element type of weights.")
    add("--opset", metavar="N", type=int, help="ONNX opset of the output.")
    add("--no-verify", action="store_true", help="Write without proof.")
    add("--force", action="store_true", help="Replace an existing output.")
    _checking_options(parser, json=False)
    _reading_options(parser)


def convert(given: Namespace) -> bool:
    """Convert SRC to DST and verify it in the target's own runtime."""
    from recast import pipeline
    from recast.cli import show
    from recast.recipe import Checking, Reading, Recipe, Writing

    recipe = Recipe(
        Reading(parse_inputs(given.input), given.weights, given.trust),
        Writing(given.to, given.batch, given.io_layout, given.dtype, given.opset, given.force),  # Writing checks them
        Checking(not given.no_verify, given.data, given.seed),
    )
    with show.progress(given.json):
        result = pipeline.convert(given.source, given.target, recipe)
    show.conversion(result, given.json)
    return result.passed


def verify(given: Namespace) -> bool:
    """Run two model files in their own runtimes on the same inputs and compare."""
    from recast import pipeline
    from recast.cli import show
    from recast.recipe import Checking

    with show.progress(given.json):
        checking = Checking(data=given.data, seed=given.seed)
        report = pipeline.verify(given.first, given.second, checking, given.trust)
    show.verification(report, given.json)
    return report.passed


def inspect(given: Namespace) -> bool:
    """Show inputs, outputs, layers, operators and sizes of a model."""
    from recast import pipeline
    from recast.cli import show
    from recast.recipe import Reading

    reading = Reading(parse_inputs(given.input), given.weights, given.trust)
    show.summary(pipeline.inspect(given.model, reading), given.json)
    return True


def formats(given: Namespace) -> bool:
    """List the formats, and which judges are installed."""
    from recast.cli import show
    from recast.formats import catalogue

    show.formats(list(catalogue().values()), given.json)
    return True


def demo(given: Namespace) -> bool:
    """Convert a small trained network to every format, prove it, and compare its accuracy before and after."""
    from recast.cli import show
    from recast.demo import run_demo

    with show.progress(given.json):
        rows: list[Any] = run_demo(given.keep)
    show.demo(rows, given.json)
    return not any(row.verdict == "failed" for row in rows)


def completion(given: Namespace) -> bool:
    """Print a completion script: eval "$(recast completion bash)"."""
    from recast._util.optional import need

    sys.stdout.write(need("shtab", "cli").complete(_parser(), given.shell) + "\n")
    return True
