"""Which Python runs a tool: one that is named, a private environment, or our own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from recast._util.optional import have
from recast.errors import BadRecipe, MissingDependency
from recast.routes import install
from recast.routes._route import Route

_PROBE_S = 60


@dataclass(frozen=True)
class Interpreter:
    """A Python, and what it has of a route's needs.

    Attributes:
        kind: ``named`` (``--python`` or a variable), ``private`` (``recast routes --install``), ``own``.
        version: of the tool; "" where it is not installed.
        missing: modules that the route needs and that are not there.
    """

    python: Path
    kind: str
    version: str = ""
    missing: tuple[str, ...] = ()
    python_version: str = ""

    @property
    def ready(self) -> bool:
        """Whether everything that the route needs is there."""
        return bool(self.version) and not self.missing

    @property
    def told(self) -> str:
        """Where it is, for people."""
        return {"own": "this Python", "private": "its private environment"}.get(self.kind, str(self.python))

    def environment(self) -> dict[str, str]:
        """Of the child. A foreign Python must not find our packages."""
        quiet = {
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "TF_ENABLE_ONEDNN_OPTS": "0",
            "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "-1"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
        }
        kept = dict(os.environ)
        if self.kind == "own":
            kept["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
        else:
            for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONSTARTUP"):
                kept.pop(name, None)
        return {**kept, **quiet}


def variable(route: Route) -> str:
    """The environment variable that names a route's Python: ``RECAST_PYTHON_TF2ONNX``."""
    return f"RECAST_PYTHON_{route.name.replace('-', '_').upper()}"


def find(route: Route, python: Path | None = None) -> Interpreter:
    """The interpreter that would run a route, ready or not.

    Order: ``python``, the route's variable, a private environment of the pinned versions, our own.

    Raises:
        BadRecipe: the named one is no Python.
    """
    named = python or (Path(os.environ[variable(route)]) if os.environ.get(variable(route)) else None)
    if named is not None:
        return probe(route, named.expanduser(), "named")
    private = install.python_of(route)
    if private is not None:
        return probe(route, private, "private")
    return _own(route)


def need(route: Route, python: Path | None = None) -> Interpreter:
    """The interpreter of a route, which has all that it needs.

    Raises:
        MissingDependency: it is not installed, or only in part.
        BadRecipe: the named one is no Python.
    """
    found = find(route, python)
    if not found.ready:
        lacks = ", ".join(found.missing or (route.tool,))
        raise MissingDependency(f"{route.name} cannot run in {found.told}: {lacks} not installed", fix=how(route))
    return found


def how(route: Route) -> str:
    """How to install a route."""
    return f"recast routes --install {route.name}, or --python PATH of a Python that has {', '.join(route.needs)}"


def _own(route: Route) -> Interpreter:
    missing = tuple(m for m in route.needs if not have(m))
    return Interpreter(Path(sys.executable), "own", _version(route), missing, sys.version.split()[0])


def _version(route: Route) -> str:
    try:
        return metadata.version(route.tool)
    except metadata.PackageNotFoundError:
        pass
    for module in route.needs[::-1]:  # installed under another name, such as tensorflow-cpu
        if module.replace("_", "-") == route.tool and importlib.util.find_spec(module) is not None:
            found = metadata.packages_distributions().get(module, [])
            return metadata.version(found[0]) if found else ""
    return ""


def probe(route: Route, python: Path, kind: str) -> Interpreter:
    """Ask a foreign Python what it has; nothing is imported there.

    Raises:
        BadRecipe: it does not answer.
    """
    from recast.routes.tool import MAIN

    wanted = {"distributions": [route.tool, f"{route.tool}-cpu"], "modules": list(route.needs)}
    asked = Interpreter(python, kind)
    try:
        done = subprocess.run(
            [str(python), str(MAIN), "--probe", json.dumps(wanted)],
            capture_output=True, text=True, timeout=_PROBE_S, check=True, env=asked.environment(),
        )  # fmt: skip
        told = json.loads(done.stdout.strip().splitlines()[-1])
        version = next((v for v in told["versions"].values() if v), "")
        return Interpreter(python, kind, version, tuple(told["missing"]), str(told["python"]))
    except (OSError, subprocess.SubprocessError, ValueError, LookupError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise BadRecipe(
            "this is no Python that answers", f"{python}: {said.strip()[-300:]}", "name the python of an environment"
        ) from error
