"""Make a model smaller (prune, distil, quantise) and measure what that cost; a worse result is refused."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from recast._util import ranks
from recast.cli.options import checking_options, json_option, reading, reading_options
from recast.errors import BadRecipe

if TYPE_CHECKING:
    from recast.compression.recipe import Prune, Steps


_PRUNE = 'Remove this share (0–1), keep N of every M (2:4), or cut channels until "macs<0.5" (parameters, latency).'


_STUDENT = "Train a smaller copy of SRC: 'width 0.5' (channels), 'depth 0.5' (repeated blocks), or both."


def configure(parser: ArgumentParser) -> None:
    """The options."""
    add = parser.add_argument
    add("source", metavar="SRC", help="Model file, folder, or package.module:factory.")
    add("target", metavar="DST", type=Path, help="Output; its suffix chooses the format.")
    add("--prune", metavar="SHARE|N:M|BUDGET", help=_PRUNE)
    add("--prune-threshold", metavar="T", type=float, help="Remove weights smaller than this.")
    add("--prune-kind", metavar="KIND", default="", help="magnitude, wanda, sparsegpt (with --data), structured …")
    add("--structured", action="store_true", help="Prune whole neurons and channels, so that shapes shrink.")
    add("--distill-from", metavar="TEACHER", help="Train the result to answer as this model does.")
    add("--student", metavar="TEXT", default="", help=_STUDENT)
    add("--aware", action="store_true", help="With --quantize int8, int4 …: train with the roundings in place.")
    add("--integer-io", action="store_true", help="With --quantize int8, int16: integer inputs and outputs, too.")
    add("--factorize", metavar="KIND", help="svd: low rank; palette: few distinct weights.")
    add("--rank-energy", metavar="E", type=float, help="svd: share of the energy that each layer keeps (default 0.95).")
    add("--rank-size", metavar="S", type=float, help="svd: share of the weights that may be left, instead.")
    add("--quantize", metavar="KIND", help="int8, int8-dynamic, int8-weights, int4, int16, float16, bfloat16 …")
    add("--recipe", metavar="R.toml", type=Path, help="The steps as a file.")
    add(
        "--budget", metavar="TEXT", default="", help='What the result must keep: "size<100KB, drop<0.5%%, latency<2ms".'
    )
    told = "Samples for the methods (default: half of --data); 'synthetic': made from the model's own statistics."
    add("--calibrate", metavar="FILE.npz", type=Path, help=told)
    add("--allow-worse", action="store_true", help="Deliver a result that is larger, slower or worse than asked.")
    add("--dry-run", action="store_true", help="Print the plans; write nothing.")
    add("--to", metavar="FMT", default="", help="Format, if the suffix does not tell.")
    add("--batch", metavar="dynamic|N", default="", help="Fix or free the batch dimension.")
    add("--io-layout", metavar="keep|nhwc|nchw", default="keep", help="Axes of inputs and outputs.")
    add("--force", action="store_true", help="Replace an existing output.")
    checking_options(parser)
    reading_options(parser)
    json_option(parser)


def steps_of(given: Namespace) -> Steps:
    """The steps: the recipe's, then the flags' in the order prune, distil, factorise, quantise."""
    from recast.compression.recipe import Distill, Factorize, Quantize, Steps, from_toml

    steps = from_toml(given.recipe) if given.recipe else Steps()
    if given.prune is not None or given.prune_threshold is not None:
        steps = steps >> _prune(given.prune, given.prune_threshold, given.structured, given.prune_kind)
    if given.distill_from or given.student:
        steps = steps >> Distill(given.distill_from or "", student=given.student)
    if given.factorize:
        ranks = {"energy": given.rank_energy, "size": given.rank_size}
        steps = steps >> Factorize(given.factorize, {k: v for k, v in ranks.items() if v is not None})
    if given.aware and not given.quantize:
        raise BadRecipe("--aware without --quantize", fix="--quantize int8 or int4, or leave it out")
    if given.integer_io and given.quantize not in ("int8", "int16"):
        raise BadRecipe("--integer-io without integer arithmetic", fix="--quantize int8 or int16, or leave it out")
    if given.quantize:
        teacher = {"teacher": given.distill_from} if given.distill_from else {}
        options = ({"aware": teacher} if given.aware else {}) | ({"io": "integer"} if given.integer_io else {})
        steps = steps >> Quantize(given.quantize, options)
    return steps


def _prune(share: str | None, threshold: float | None, structured: bool, kind: str) -> Prune:
    from recast.compression.recipe import Prune

    if share is not None and "<" in share:
        return Prune(None, threshold, True, kind, budget=share)
    if share is not None and ":" in share:
        return Prune(None, threshold, structured, kind or "n-m", {"pattern": share})
    try:
        amount = None if share is None else float(share)
    except ValueError as error:
        raise BadRecipe(f"--prune {share}", fix="a share such as 0.5, a pattern such as 2:4, or macs<0.5") from error
    return Prune(amount, threshold, structured, kind)


def run(given: Namespace) -> bool:
    """Do it."""
    from recast import compressing
    from recast.cli import show
    from recast.cli.show_compression import compression
    from recast.compression.gate import parse_budget
    from recast.recipe import Writing

    settings = compressing.Settings(
        reading(given),
        Writing(given.to, given.batch, given.io_layout, force=given.force),
        given.data,
        parse_budget(given.budget, given.allow_worse),
        seed=given.seed,
        dry_run=given.dry_run,
        calibration=given.calibrate,
    )
    with show.progress(given.json or not ranks.first()):
        result = compressing.compress(given.source, given.target, steps_of(given), settings)
    if ranks.first():
        compression(result, given.json)
    return result.passed
