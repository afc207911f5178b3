"""No traceback reaches the user: every error becomes one message and an exit code.

0 ok, 2 usage, 3 refused input, 4 busy, 5 output, 6 verification or budget failed, 70 our defect, 130/143 interrupted.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import TextIO

from recast.errors import InternalError, RecastError

_ANSI = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33}


def guarded(run: Callable[[], object]) -> int:
    """Run the application and return its exit code."""
    try:
        run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        print("interrupted: nothing half-written was left", file=sys.stderr)  # noqa: T201
        return 130
    except RecastError as error:
        return _tell(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except Exception as error:
        if os.environ.get("RECAST_DEBUG"):
            raise
        return _tell(
            InternalError(
                f"{type(error).__name__}: {str(error)[:300]}",
                "inside Recast: this is our defect, not yours",
                "please report it with the output of RECAST_DEBUG=1",
            )
        )
    return 0


def _tell(error: RecastError) -> int:
    if "--json" in sys.argv:
        print(json.dumps({"error": error.as_dict()}))  # noqa: T201
    else:
        text, mark = printable(str(error)), len(error.code) + 2
        print(painted(text[:mark], "bold red", sys.stderr) + text[mark:], file=sys.stderr)  # noqa: T201
    return error.exit_code


def printable(text: str) -> str:
    """Names come from untrusted files: no control characters reach the terminal."""
    return "".join(c if c == "\n" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def painted(text: str, style: str, stream: TextIO) -> str:
    """The text in a style (``bold green``) where the stream is a terminal that shows colours."""
    plain = not stream.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb" or os.name == "nt"
    if plain or not style:
        return text
    return f"\033[{';'.join(str(_ANSI[word]) for word in style.split())}m{text}\033[0m"
