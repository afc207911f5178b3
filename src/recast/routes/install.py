"""Private environments of tools that need versions of their own: made whole or not at all, found by their pins."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from recast._util import progress
from recast.errors import OutputFailed, ToolFailed
from recast.routes._route import Route

_MARK = "recast-route.json"  # written last: an environment without it is not one
_TAIL = 1200
_TICK_S = 0.25


def cache_folder() -> Path:
    """The user's cache folder: ``RECAST_CACHE``, or where the system keeps such things."""
    if os.environ.get("RECAST_CACHE"):
        return Path(os.environ["RECAST_CACHE"]).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "recast" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "recast"
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(xdg) if os.path.isabs(xdg) else Path.home() / ".cache") / "recast"


def folder_of(route: Route) -> Path:
    """Where the environment of a route lies: other pins are another folder, so that it is never half right."""
    digest = hashlib.sha256("\n".join(route.packages).encode()).hexdigest()[:12]
    return cache_folder() / "routes" / f"{route.name}-{digest}"


def python_of(route: Route) -> Path | None:
    """The Python of a route's environment, or None where none is complete."""
    folder = folder_of(route)
    return _python(folder) if (folder / _MARK).is_file() and _python(folder).exists() else None


def _python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def install(route: Route, base: Path | None = None) -> tuple[Path, bool]:
    """Make a route's private environment, unless it is there.

    Args:
        base: the Python it is made with (default: ours).

    Returns:
        Its Python, and whether it was made now.

    Raises:
        ToolFailed: ``venv`` or ``pip`` failed; nothing is left behind.
        OutputFailed: the cache folder cannot be written.
    """
    found = python_of(route)
    if found is not None:
        return found, False
    final = folder_of(route)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        _sweep(final.parent)
        work = Path(tempfile.mkdtemp(prefix=f".{os.getpid()}.", suffix=".making", dir=final.parent))
    except OSError as error:
        raise OutputFailed(f"cannot write here: {error.strerror}", str(final.parent), "set RECAST_CACHE") from error
    try:
        _make(route, base or Path(sys.executable), work)
        _publish(work, final)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return _python(final), True


def _make(route: Route, base: Path, work: Path) -> None:
    _run([str(base), "-m", "venv", str(work)], f"{route.name}: making an environment")
    python = str(_python(work))
    pip = [python, "-m", "pip", "--no-input", "--disable-pip-version-check"]
    _run([*pip, "install", *route.packages], f"{route.name}: installing {', '.join(route.packages)}")
    held = _run([*pip, "freeze", "--all"], f"{route.name}: listing what was installed")
    text = json.dumps({"packages": list(route.packages), "installed": held.split()}, indent=1)
    with open(work / _MARK, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _publish(work: Path, final: Path) -> None:
    """Rename the finished folder; where another process was faster, its environment is as good."""
    if final.exists() and not (final / _MARK).is_file():
        shutil.rmtree(final, ignore_errors=True)
    try:
        os.rename(work, final)
    except OSError as error:
        if not (final / _MARK).is_file():
            raise OutputFailed(f"cannot rename: {error.strerror}", str(final), "set RECAST_CACHE") from error


def _sweep(parent: Path) -> None:
    """Remove what installs left that were killed."""
    for folder in parent.glob(".*.making"):
        pid = folder.name.split(".")[1]
        if not pid.isdigit() or not _alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: int) -> bool:
    if os.name == "nt":
        return True  # there, signal 0 would end the process
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _run(command: Sequence[str], task: str) -> str:
    """Run a command to its end, with everything that it starts; its standard output.

    Raises:
        ToolFailed: it failed; the end of what it said is quoted.
    """
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, start_new_session=True
        )
        try:
            with _shown(task):
                code = process.wait()
        finally:
            _end(process)
        out.seek(0)
        told = out.read().decode(errors="replace")
        if code:
            err.seek(0)
            said = (err.read().decode(errors="replace").strip() or told.strip())[-_TAIL:]
            raise ToolFailed(
                f"{task} failed",
                f"it said: {said}",
                "check the network, or make an environment yourself: --python PATH",
            )
        return told


@contextlib.contextmanager
def _shown(task: str) -> Iterator[None]:
    done, listener = threading.Event(), progress.current()

    def show() -> None:
        while listener is not None and not done.wait(_TICK_S):
            listener(progress.Event(task))

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (OSError, AttributeError):
            process.kill()
        process.wait()
