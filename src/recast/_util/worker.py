"""The child side of ``child.py``: loads one runtime module and serves it. Started as ``python -m recast._util.worker``.

The named module (one of Recast's own ``formats/<f>/run.py``) has a class ``Session(path, options)`` with
``inputs``, ``outputs`` (lists of ``TensorSpec``) and ``run(feeds) -> dict``. Its function ``preload()``, where there is
one, imports the runtime, so that a child can do it before it is told what to open.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from typing import Any, BinaryIO

from recast._util import frames
from recast.errors import RecastError


def _limits(memory_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def _failure(error: BaseException) -> dict[str, Any]:
    if isinstance(error, RecastError):
        return {"error": {"class": type(error).__name__, **error.as_dict()}}
    return {"error": {"class": "", "what": f"{type(error).__name__}: {str(error)[:2000]}"}}


def _resident(field: str) -> int:
    """Resident bytes of this process: ``VmRSS`` now, ``VmHWM`` at its peak; 0 where the system does not tell.

    Not ``ru_maxrss``: that counts the parent's memory of before ``exec``.
    """
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith(f"{field}:")), 0)
    except OSError:
        return 0


def _preload(module_name: str) -> None:
    try:
        getattr(importlib.import_module(module_name), "preload", int)()
    except Exception:
        return  # the session meets the same and tells it


def _serve(module_name: str, reader: BinaryIO, writer: BinaryIO) -> None:
    """One session after another, each from its start message to its end message."""
    _preload(module_name)
    limited = False
    while True:
        try:
            start, _ = frames.receive(reader)
        except EOFError:
            return
        if not limited:
            _limits(int(start["memory_bytes"]))
            limited = True
        before = _resident("VmRSS")
        try:
            session = importlib.import_module(module_name).Session(start["path"], start["options"])
        except Exception as error:
            frames.send(writer, _failure(error))
            continue
        specs = {side: [s.as_list() for s in getattr(session, side)] for side in ("inputs", "outputs")}
        frames.send(writer, {"ok": True, **specs})
        if not _requests(session, before, reader, writer):
            return
        del session
        gc.collect()


def _requests(session: Any, before: int, reader: BinaryIO, writer: BinaryIO) -> bool:
    """Serve one session, which ``before`` bytes were resident before; False when the parent is gone."""
    while True:
        try:
            request, feeds = frames.receive(reader)
        except EOFError:
            return False
        if "end" in request:
            return True
        try:
            if "memory" in request:
                frames.send(writer, {"ok": True, "result": [before, _resident("VmHWM")] if before else None})
            elif "call" in request:
                result, outputs = getattr(session, request["call"])(feeds, **request["arguments"])
                frames.send(writer, {"ok": True, "result": result}, outputs)
            else:
                frames.send(writer, {"ok": True}, session.run(feeds))
        except Exception as error:
            frames.send(writer, _failure(error))


def main() -> None:
    """Keep the real standard output for frames; whatever the runtime prints goes to standard error."""
    writer = os.fdopen(os.dup(1), "wb")
    reader = os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    _serve(sys.argv[1], reader, writer)
    writer.flush()
    os._exit(0)  # a runtime's own exit handlers may crash or hang


if __name__ == "__main__":
    main()
