"""Where trials run. A batch runs side by side and is waited for; a candidate is timed alone, on this machine, after it.

``Local``: child processes here. ``Ray``: actors of a Ray cluster; the source and the data must lie where every node
finds them under the same path, results come back as bytes.
"""

from __future__ import annotations

import contextlib
import signal
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from recast._util import child
from recast._util.optional import need
from recast.errors import MissingDependency, RecastError, RuntimeDied
from recast.tuning.job import Job
from recast.tuning.worker import Session

_WORKER = "recast.tuning.worker"
_LONGEST_S = 3600.0  # of one trial where the search has no deadline
Told = dict[str, Any]


@dataclass(frozen=True)
class Order:
    """One trial to make: a recipe as data, and where the files go."""

    steps: Sequence[Told]
    folder: Path


class Engine(Protocol):
    """Makes trials. ``width`` is how many at once."""

    width: int

    def original(self, folder: Path) -> None:
        """Write the original in the target's format (``Session.original``)."""

    def batch(self, orders: Sequence[Order], deadline: float) -> list[Told | None]:
        """Make trials (``Session.trial``); None: not finished by ``deadline`` (``time.monotonic``)."""

    def time(self, row: Told, files: Sequence[Path]) -> Told:
        """Time a candidate (``Session.time``)."""

    def close(self) -> None:
        """End everything that was started."""


class Local:
    """Child processes on this machine; the first one is also the one that times."""

    def __init__(self, job: Job, width: int) -> None:
        self.width = width
        self._job = job.told()
        self._runners: list[child.RemoteRunner | None] = [None] * width
        self._folder: Path | None = None  # of the original, once it is there
        self._closed = threading.Event()

    def original(self, folder: Path) -> None:
        """See ``Engine``."""
        self._folder = None
        self._call(0, "original", _LONGEST_S, folder=str(folder / "original"))
        self._folder = folder

    def batch(self, orders: Sequence[Order], deadline: float) -> list[Told | None]:
        """See ``Engine``."""
        with ThreadPoolExecutor(self.width) as threads:
            try:
                made = [threads.submit(self._trial, i, order, deadline) for i, order in enumerate(orders)]
                return [m.result() for m in made]
            except BaseException:
                self.close()  # ends the threads: they wait for the children
                raise

    def time(self, row: Told, files: Sequence[Path]) -> Told:
        """See ``Engine``."""
        if self._runners[0] is None and self._folder is not None:  # it died: the new one needs the original again
            self.original(Path(tempfile.mkdtemp(dir=self._folder)))
        return self._call(0, "time", _LONGEST_S, row=row, files=[str(f) for f in files])

    def close(self) -> None:
        """See ``Engine``."""
        self._closed.set()
        for runner in self._runners:
            if runner is not None:
                runner.close()

    def _trial(self, place: int, order: Order, deadline: float) -> Told | None:
        left = min(deadline - time.monotonic(), _LONGEST_S)
        if left <= 0:
            return None
        try:
            return self._call(place, "trial", left, steps=list(order.steps), folder=str(order.folder))
        except RuntimeDied as error:
            if time.monotonic() >= deadline or self._closed.is_set():
                return None
            return _refused(error)

    def _call(self, place: int, method: str, timeout_s: float, **arguments: Any) -> Told:
        runner, limits = self._runners[place], child.Limits(timeout_s, gpus=True)  # its own children may train
        if runner is None:
            runner = child.RemoteRunner(_WORKER, Path(self._job["source"]), {"job": self._job}, limits)
            self._runners[place] = runner
            if self._closed.is_set():
                runner.close()
        runner.limits = limits
        try:
            told: Told = runner.call(method, **arguments)[0]
        except RuntimeDied:
            runner.close()
            self._runners[place] = None
            raise
        return told


class Ray:
    """Actors of a Ray cluster: the one that runs here or is named by RAY_ADDRESS, else a local one is started."""

    def __init__(self, job: Job, width: int) -> None:
        self.width = width
        self._ray: Any = need("ray", "ray")
        self._job = job.told()
        self._here = Local(job, 1)
        self._started = not self._ray.is_initialized()
        if self._started:
            self._connect()
        self._actors: list[Any] = [None] * width

    def _connect(self) -> None:
        main = threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGTERM) if main else None
        quiet = {"log_to_driver": False, "logging_level": "error"}
        try:
            self._ray.init(address="auto", **quiet)
        except ConnectionError:
            self._ray.init(num_cpus=self.width, include_dashboard=False, **quiet)
        except Exception as error:
            raise MissingDependency(
                f"Ray does not start: {error}", fix="check RAY_ADDRESS, or leave --engine"
            ) from error
        finally:
            if main and before is not None:
                signal.signal(signal.SIGTERM, before)  # Ray sets its own, which ends with another exit code

    def original(self, folder: Path) -> None:
        """See ``Engine``."""
        self._here.original(folder)

    def batch(self, orders: Sequence[Order], deadline: float) -> list[Told | None]:
        """See ``Engine``."""
        waiting = {}
        for place, order in enumerate(orders):
            if self._actors[place] is None:
                self._actors[place] = self._ray.remote(num_cpus=1)(_Remote).remote(self._job)
            waiting[self._actors[place].trial.remote(list(order.steps))] = place
        made: list[Told | None] = [None] * len(orders)
        left = max(0.0, min(deadline - time.monotonic(), _LONGEST_S))
        ready, late = self._ray.wait(list(waiting), num_returns=len(waiting), timeout=left)
        for reference in ready:
            place = waiting[reference]
            try:
                told, files = self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                self._end(place)
                made[place] = _refused(RuntimeDied(f"a Ray worker ended: {str(error).splitlines()[-1][:200]}"))
                continue
            made[place] = told | {"files": [str(f) for f in _unpack(files, told["files"], orders[place].folder)]}
        for reference in late:
            self._end(waiting[reference])
        return made

    def time(self, row: Told, files: Sequence[Path]) -> Told:
        """See ``Engine``."""
        return self._here.time(row, files)

    def close(self) -> None:
        """See ``Engine``."""
        self._here.close()
        for place in range(self.width):
            self._end(place)
        if self._started:
            self._ray.shutdown()

    def _end(self, place: int) -> None:
        actor, self._actors[place] = self._actors[place], None
        if actor is not None:
            with contextlib.suppress(Exception):  # it may be dead already
                self._ray.kill(actor)


class _Remote:
    """``Session`` on a node of the cluster; files travel as bytes."""

    def __init__(self, job: Told) -> None:
        self._session = Session("", {"job": job})

    def trial(self, steps: list[Told]) -> tuple[Told, dict[str, bytes]]:
        """One trial, and the bytes of what it wrote by name."""
        with tempfile.TemporaryDirectory() as text:
            folder = Path(text)
            told, _ = self._session.trial({}, steps, text)
            files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
            return told | {"files": [str(Path(f).relative_to(folder)) for f in told["files"]]}, files


def _unpack(files: dict[str, bytes], names: Sequence[str], folder: Path) -> list[Path]:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return [folder / n for n in names]


def _refused(error: RecastError) -> Told:
    return {"files": [], "comparison": None, "refused": f"[{error.code}] {error.what}", "digest": ""}


ENGINES: dict[str, Any] = {"local": Local, "ray": Ray}
