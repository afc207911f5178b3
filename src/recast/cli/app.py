"""The commands. Heavy modules are imported inside them, so ``recast --help`` is instant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from recast.errors import BadRecipe

app = typer.Typer(
    name="recast",
    help="Convert neural networks between frameworks, and prove the result.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Input = Annotated[
    list[str] | None, typer.Option("--input", metavar="NAME=1,3,224,224", help="Shape of an input (repeatable).")
]
Data = Annotated[
    Path | None, typer.Option("--data", metavar="FILE.npz", help="Real samples: arrays named as the inputs.")
]
Weights = Annotated[Path | None, typer.Option("--weights", help="Checkpoint for a PyTorch factory.")]
Trust = Annotated[bool, typer.Option("--trust", help="Allow files whose own library runs code from them (.pt2).")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the generated feeds.")]


def _version(wanted: bool) -> None:
    if wanted:
        from recast import __version__

        typer.echo(f"recast {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


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


@app.command()
def convert(  # noqa: PLR0913 one parameter per flag
    source: Annotated[str, typer.Argument(metavar="SRC", help="Model file, folder, or package.module:factory.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="Output; its suffix chooses the format.")],
    to: Annotated[str, typer.Option("--to", metavar="FMT", help="Format, if the suffix does not tell.")] = "",
    data: Data = None,
    shapes: Input = None,
    batch: Annotated[str, typer.Option("--batch", metavar="dynamic|N", help="Fix or free the batch dimension.")] = "",
    io_layout: Annotated[
        str, typer.Option("--io-layout", metavar="keep|nhwc|nchw|auto", help="Axes of inputs and outputs.")
    ] = "keep",
    dtype: Annotated[str, typer.Option("--dtype", metavar="float16", help="Element type of weights.")] = "",
    opset: Annotated[int | None, typer.Option("--opset", help="ONNX opset of the output.")] = None,
    weights: Weights = None,
    trust: Trust = False,
    seed: Seed = 0,
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Write without proof.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing output.")] = False,
    as_json: Json = False,
) -> None:
    """Convert SRC to DST and verify it in the target's own runtime."""
    from recast import pipeline
    from recast.cli import show
    from recast.recipe import Checking, Reading, Recipe, Writing

    recipe = Recipe(
        Reading(parse_inputs(shapes), weights, trust),
        Writing(to, batch, cast(Any, io_layout), cast(Any, dtype), opset, force),  # Writing checks them
        Checking(not no_verify, data, seed),
    )
    with show.progress(as_json):
        result = pipeline.convert(source, target, recipe)
    show.conversion(result, as_json)
    if not result.passed:
        raise typer.Exit(6)


@app.command()
def verify(
    first: Annotated[Path, typer.Argument(metavar="A")],
    second: Annotated[Path, typer.Argument(metavar="B")],
    data: Data = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Run two model files in their own runtimes on the same inputs and compare."""
    from recast import pipeline
    from recast.cli import show
    from recast.recipe import Checking

    with show.progress(as_json):
        report = pipeline.verify(first, second, Checking(data=data, seed=seed))
    show.verification(report, as_json)
    if not report.passed:
        raise typer.Exit(6)


@app.command()
def inspect(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model file, or package.module:factory.")],
    shapes: Input = None,
    weights: Weights = None,
    trust: Trust = False,
    as_json: Json = False,
) -> None:
    """Show inputs, outputs, layers, operators and sizes of a model."""
    from recast import pipeline
    from recast.cli import show
    from recast.recipe import Reading

    show.summary(pipeline.inspect(model, Reading(parse_inputs(shapes), weights, trust)), as_json)


@app.command()
def formats(as_json: Json = False) -> None:
    """List the formats, and which judges are installed."""
    from recast.cli import show
    from recast.formats import catalogue

    show.formats(list(catalogue().values()), as_json)


@app.command()
def demo(
    folder: Annotated[
        Path | None, typer.Option("--keep", metavar="DIR", help="Keep the converted files in this folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Convert a small trained network to every format, prove it, and compare its accuracy before and after."""
    from recast.cli import show
    from recast.demo import run_demo

    with show.progress(as_json):
        rows: list[Any] = run_demo(folder)
    show.demo(rows, as_json)
    if any(row.verdict == "failed" for row in rows):
        raise typer.Exit(6)
