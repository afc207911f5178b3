"""Search for the best way to make a model smaller under a budget; the target is always the best so far."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from recast.cli.options import checking_options, json_option, reading, reading_options
from recast.errors import BadRecipe

_UNITS = {"s": 1, "m": 60, "h": 3600}


def configure(parser: ArgumentParser) -> None:
    """The options."""
    add = parser.add_argument
    add("source", metavar="SRC", help="Model file, folder, or package.module:factory.")
    add("target", metavar="DST", type=Path, help="Output; its suffix chooses the format.")
    add(
        "--budget", metavar="TEXT", default="", help='What the result must keep: "size<100KB, drop<0.5%%, latency<2ms".'
    )
    add("--time", metavar="10m", default="", help="How long to search: 90s, 10m (default), 2h.")
    add("--trials", metavar="N", type=int, help="Trials in all, those of earlier calls included.")
    add("--jobs", metavar="N", type=int, default=1, help="Trials at once (default 1).")
    add("--engine", choices=("local", "ray"), default="local", help="Where trials run.")
    add("--prefer", choices=("size", "quality", "latency"), default="size", help="What is best within the budget.")
    add("--storage", metavar="FILE", type=Path, help="The search, to be resumed (default DST.tune).")
    told = "Samples for the methods (default: half of --data); 'synthetic': made from the model's own statistics."
    add("--calibrate", metavar="FILE.npz", type=Path, help=told)
    add("--html", metavar="R.html", type=Path, help="Write a page with pictures.")
    add("--to", metavar="FMT", default="", help="Format, if the suffix does not tell.")
    add("--batch", metavar="dynamic|N", default="", help="Fix or free the batch dimension.")
    add("--io-layout", metavar="keep|nhwc|nchw", default="keep", help="Axes of inputs and outputs.")
    add("--force", action="store_true", help="Replace an existing output (and page).")
    checking_options(parser)
    reading_options(parser)
    json_option(parser)


def seconds_of(text: str) -> float | None:
    """``10m`` → 600; "" → None.

    Raises:
        BadRecipe: something else is written there.
    """
    if not text:
        return None
    number, unit = (text[:-1], text[-1]) if text[-1] in _UNITS else (text, "s")
    try:
        found = float(number) * _UNITS[unit]
    except ValueError as error:
        raise BadRecipe(f"--time {text}", fix="write for example 90s, 10m or 2h") from error
    if not 0 < found < float("inf"):
        raise BadRecipe(f"--time {text}", fix="a positive time")
    return found


def run(given: Namespace) -> bool:
    """Do it. After an interruption too what was found is shown."""
    from recast.cli import show, show_report
    from recast.compressing import Settings
    from recast.compression.gate import parse_budget
    from recast.recipe import Writing
    from recast.tuning.search import Search, Tuning

    settings = Settings(
        reading(given),
        Writing(given.to, given.batch, given.io_layout, force=given.force),
        given.data,
        parse_budget(given.budget),
        given.calibrate,
        given.seed,
    )
    tuning = Tuning(
        settings, seconds_of(given.time), given.trials, given.jobs, given.storage, given.engine, given.prefer
    )
    show_report.check_free(given.html, given.force)
    search = Search(given.source, given.target, tuning)
    try:
        with show.progress(given.json):
            search.run()
    except (KeyboardInterrupt, SystemExit):
        if search.outcome().rows:
            show_report.report(search.outcome().report(), given.json, given.html)
        raise
    found = search.outcome()
    show_report.report(found.report(), given.json, given.html)
    return found.passed
