"""Convert SRC to DST and verify it in the target's own runtime."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from recast.cli.options import checking_options, json_option, reading, reading_options, via, via_options


def configure(parser: ArgumentParser) -> None:
    """The options."""
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
    via_options(parser)
    checking_options(parser)
    reading_options(parser)
    json_option(parser)


def run(given: Namespace) -> bool:
    """Do it."""
    from recast import routes
    from recast.cli import show
    from recast.recipe import Checking, Recipe, Writing

    recipe = Recipe(
        reading(given),
        Writing(given.to, given.batch, given.io_layout, given.dtype, given.opset, given.force),  # Writing checks them
        Checking(not given.no_verify, given.data, given.seed),
    )
    with show.progress(given.json):
        result = routes.convert(given.source, given.target, recipe, via=via(given))
    show.conversion(result, given.json)
    return result.passed
