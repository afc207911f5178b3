"""Measure models side by side (size, speed, accuracy, robustness, attribution); the first is the original."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from recast.cli.options import TRUST, json_option
from recast.errors import BadRecipe


def configure(parser: ArgumentParser) -> None:
    """The options."""
    add = parser.add_argument
    add("models", metavar="MODEL", nargs="+", help="Model files of any formats; the first is the original.")
    add("--data", metavar="FILE.npz", type=Path, help="Samples named as the inputs, labels as y; or .npy, or a folder.")
    add("--samples", metavar="N", type=int, default=2000, help="Use at most N samples (default 2000).")
    add("--threads", metavar="N,all", default="1,all", help="Numbers of threads to time with (default 1,all; none).")
    add("--rounds", metavar="N", type=int, default=20, help="Turns of each model in a timing (default 20).")
    add("--robustness", action="store_true", help="Accuracy under attacks (needs PyTorch) and corruptions.")
    add("--interpret", action="store_true", help="Compare attribution maps (needs PyTorch and Captum).")
    add("--html", metavar="R.html", type=Path, help="Write a page with pictures.")
    add("--force", action="store_true", help="Replace an existing page.")
    add("--seed", metavar="N", type=int, default=0, help="Of resamples and attacks (default 0).")
    add("--trust", action="store_true", help=TRUST)
    json_option(parser)


def threads_of(text: str) -> tuple[int, ...]:
    """``1,all`` → ``(1, 0)``.

    Raises:
        BadRecipe: something else is written there.
    """
    if text == "none":
        return ()
    words = text.split(",")
    if not all(w == "all" or (w.isdigit() and int(w) > 0) for w in words):
        raise BadRecipe(f"--threads {text}", fix="write for example 1,all or 1,2,4 or none")
    return tuple(0 if w == "all" else int(w) for w in words)


def run(given: Namespace) -> bool:
    """Do it."""
    from recast import evaluating
    from recast.cli import show, show_report

    also = frozenset(n for n in evaluating.ALSO if getattr(given, n))
    measuring = evaluating.Measuring(
        given.samples, threads_of(given.threads), given.rounds, also, given.seed, given.trust
    )
    show_report.check_free(given.html, given.force)
    with show.progress(given.json):
        report = evaluating.evaluate(given.models, given.data, measuring)
    show_report.report(report, given.json, given.html)
    return True
