"""Show a saved evaluation or a certificate (OUT.recast.json) as text, JSON, or a page with pictures."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from recast.cli.options import json_option


def configure(parser: ArgumentParser) -> None:
    """The options."""
    add = parser.add_argument
    add("file", metavar="FILE.json", type=Path, help="OUT.recast.json, or what evaluate --json printed.")
    add("--html", metavar="R.html", type=Path, help="Write a page with pictures.")
    add("--force", action="store_true", help="Replace an existing page.")
    json_option(parser)


def run(given: Namespace) -> bool:
    """Do it."""
    from recast.cli import show_report
    from recast.report.document import Report

    show_report.check_free(given.html, given.force)
    show_report.report(Report.load(given.file), given.json, given.html)
    return True
