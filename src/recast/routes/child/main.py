"""The child side of ``recast.routes.tool``: loads one route's file and serves it. ``python main.py TOOLS/NAME.py``.

It may run in an interpreter that has neither Recast nor its dependencies: nothing of Recast is imported, neither here
nor in ``job.py`` nor in the routes' files, and the syntax is that of Python 3.9. One JSON object a line, in and out;
arrays travel as ``.npz`` files. What a tool prints goes to the standard error.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import threading
import time
from typing import Any


def load(path: str, name: str) -> Any:
    """A Python file as a module."""
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def probe(distributions: list[str], modules: list[str]) -> dict[str, Any]:
    """Versions of distributions ("": not installed) and which modules are missing; nothing is imported."""
    from importlib import metadata

    found = {}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = ""
    missing = [m for m in modules if importlib.util.find_spec(m) is None]
    return {"versions": found, "missing": missing, "python": sys.version.split()[0]}


def watch(parent: int) -> None:
    """End this process when its parent is gone: a tool at work would not notice."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


class Server:
    """Answers requests about one job: ``convert``, ``open``, ``run``."""

    def __init__(self, route: Any, jobs: Any) -> None:
        self._route, self._jobs = route, jobs
        self._source: Any = None

    def failure(self, error: BaseException) -> dict[str, Any]:
        """What went wrong, as an answer; ``fix`` where the request is to blame."""
        reason = str(error).strip() or "no reason given"
        if isinstance(error, self._jobs.Refused):
            return {"error": reason, "fix": error.fix}
        return {"error": f"{type(error).__name__}: {reason[:1500]}"}

    def convert(self, request: dict[str, Any]) -> dict[str, Any]:
        """Have the tool make ``target`` from ``source``."""
        notes = self._route.convert(self._jobs.Job(**request)) or []
        return {"notes": list(notes)}

    def open(self, request: dict[str, Any]) -> dict[str, Any]:
        """Load the source in its own framework, to run it as the reference."""
        self._source = self._jobs.Job(**request).source_model()
        return {
            "inputs": self._source.inputs,
            "outputs": self._source.outputs,
            "runtime": self._source.runtime,
        }

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run the source once: ``feeds`` (``.npz`` by position: ``a0``, ``a1`` …) to ``results``."""
        import numpy as np

        with np.load(request["feeds"], allow_pickle=False) as held:
            arrays = [held[f"a{i}"] for i in range(len(held.files))]
        made = self._source.run(arrays)
        np.savez(request["results"], **{f"a{i}": np.asarray(a) for i, a in enumerate(made)})  # type: ignore[arg-type]
        return {}


def serve(server: Server, reader: Any, writer: Any) -> None:
    """One line in, one line out, until the input ends."""
    for line in reader:
        request = json.loads(line)
        try:
            answer = getattr(server, request.pop("do"))(request)
        except BaseException as error:  # a tool may raise anything, SystemExit too
            import traceback

            traceback.print_exc(limit=-2)
            answer = server.failure(error)
        writer.write(json.dumps(answer) + "\n")
        writer.flush()


def main() -> None:
    """Keep the real standard output for answers."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [p for p in sys.path if os.path.abspath(p or ".") != here or not p]
    if sys.argv[1] == "--probe":
        told = json.loads(sys.argv[2])
        print(json.dumps(probe(told["distributions"], told["modules"])))  # noqa: T201 the answer
        return
    threading.Thread(target=watch, args=(os.getppid(),), daemon=True).start()
    writer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    reader = os.fdopen(os.dup(0), "r", encoding="utf-8")
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    route, jobs = load(sys.argv[1], "recast_route"), load(os.path.join(here, "job.py"), "recast_job")
    serve(Server(route, jobs), reader, writer)
    os._exit(0)  # a framework's own exit handlers may crash or hang


if __name__ == "__main__":
    main()
