"""No traceback reaches the user: every error becomes one message and an exit code.

0 ok, 2 usage, 3 refused input, 4 busy, 5 output, 6 verification or budget failed, 70 our defect, 130/143 interrupted.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

from recast.errors import InternalError, RecastError


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
        from rich.console import Console
        from rich.text import Text

        text = Text(printable(str(error)))
        text.stylize("bold red", 0, len(error.code) + 2)
        Console(stderr=True, highlight=False, soft_wrap=True).print(text)
    return error.exit_code


def printable(text: str) -> str:
    """Names come from untrusted files: no control characters reach the terminal."""
    return "".join(c if c == "\n" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
