"""Show a report: text or JSON on the terminal, HTML in a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from recast._util import atomic
from recast.cli.guard import printable

if TYPE_CHECKING:
    from recast.report.document import Report


def check_free(path: Path | None, force: bool) -> None:
    """Refuse early where the page could not be written.

    Raises:
        OutputExists, OutputFailed: it is there, or its folder is not.
    """
    if path is not None:
        atomic.check_free(path, force)


def report(found: Report, as_json: bool, html: Path | None) -> None:
    """Print the report; write the page if asked."""
    if html is not None:
        atomic.write_bytes(html, found.html().encode())
    if as_json:
        sys.stdout.write(found.json())
        return
    sys.stdout.write(printable(found.text()))
    if html is not None:
        sys.stdout.write(printable(f"{html} was written\n"))
