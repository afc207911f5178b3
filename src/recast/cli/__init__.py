"""The command line: parse → Recipe → pipeline → show. Nothing is computed here."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Entry point of the ``recast`` command; ends the process with the documented exit code."""
    from recast.cli.app import app
    from recast.cli.guard import guarded

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(guarded(app))
