"""Runtimes and frameworks run in a child process with limits: however a child dies, it becomes one error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from recast import errors
from recast._util import frames
from recast.errors import RecastError, RuntimeDied, RuntimeRefused

if TYPE_CHECKING:
    import numpy as np

DEFAULT_TIMEOUT_S = 300.0
DEFAULT_MEMORY_BYTES = 0  # 0: no limit of address space; frameworks reserve far more than they use


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a runnable model. A ``str`` in ``shape`` is a dynamic dimension's name."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def as_list(self) -> list[Any]:
        """The spec as JSON-ready data."""
        return [self.name, self.dtype, list(self.shape)]


@dataclass(frozen=True)
class Limits:
    """What a child may use. ``timeout_s`` counts for one request.

    ``gpus``: it sees those that this process sees; else none, so that what a runtime computes is what it computes
    anywhere, and timings are of the processor.
    """

    timeout_s: float = DEFAULT_TIMEOUT_S
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    gpus: bool = False


def _environment(gpus: bool) -> dict[str, str]:
    quiet = {
        "ORT_DISABLE_TELEMETRY": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "GLOG_v": "3",
        "PYTHONDONTWRITEBYTECODE": os.environ.get("PYTHONDONTWRITEBYTECODE", ""),
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }
    return {**os.environ, **quiet, **({} if gpus else {"CUDA_VISIBLE_DEVICES": "-1"})}


class _Child:
    """One worker process (``worker.py``) and what it prints."""

    def __init__(self, module: str, gpus: bool = False) -> None:
        self.module, self.gpus = module, gpus
        self.threads: set[int | None] = set()  # that its sessions asked for: MindSpore and TensorFlow take only one
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 closed in end()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "recast._util.worker", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=_environment(gpus),
            start_new_session=True,
        )

    def last_words(self) -> str:
        """The end of what it printed."""
        self.log.seek(0, os.SEEK_END)
        self.log.seek(max(0, self.log.tell() - 600))
        return self.log.read().decode(errors="replace").strip()

    def end(self) -> None:
        """Kill it with everything it started."""
        if self.process.poll() is None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except (OSError, AttributeError):
                self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.log):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    continue  # a broken pipe has nothing left to flush


_pool: ContextVar[list[_Child] | None] = ContextVar("recast_children", default=None)
_options: ContextVar[Mapping[str, Any] | None] = ContextVar("recast_options", default=None)
_started: ContextVar[list[_Child] | None] = ContextVar("recast_started", default=None)


@contextmanager
def opening(**options: Any) -> Iterator[None]:
    """Sessions that open inside get these options besides their own (``threads``, ``optimization`` …)."""
    token = _options.set({**(_options.get() or {}), **options})
    try:
        yield
    finally:
        _options.reset(token)


@contextmanager
def started(modules: Sequence[str]) -> Iterator[None]:
    """Children for these modules start now and load their runtimes while the caller works; the first runners get them.

    A child that nobody asked for is ended with the block.
    """
    waiting = [child.module for child in _pool.get() or ()]
    children: list[_Child] = []
    for module in modules:
        if module in waiting:
            waiting.remove(module)
        else:
            children.append(_Child(module))
    token = _started.set(children)
    try:
        yield
    finally:
        _started.reset(token)
        for child in children:
            child.end()


@contextmanager
def pool() -> Iterator[None]:
    """Inside, a child that is closed waits for the next model of its runtime: starting a framework costs seconds."""
    kept: list[_Child] = []
    token = _pool.set(kept)
    try:
        yield
    finally:
        _pool.reset(token)
        for child in kept:
            child.end()


def _idle(runner: RemoteRunner, threads: int | None) -> _Child | None:
    """A waiting child of the runner's module that has served no session with another number of threads."""
    if runner.limits.memory_bytes:
        return None
    wanted = runner.module, runner.limits.gpus
    for kept in (_pool.get(), _started.get()):
        fits = (c for c in kept or () if (c.module, c.gpus) == wanted and c.threads <= {threads})
        found = next(fits, None)
        if kept and found is not None:
            kept.remove(found)
            return found if found.process.poll() is None else None
    return None


def _keep(child: _Child, begun: bool) -> bool:
    """Put a healthy child aside; a session that has begun is ended first."""
    kept = _pool.get()
    if kept is None or child in kept or child.process.poll() is not None or child.process.stdin is None:
        return kept is not None and child in kept
    try:
        if begun:
            frames.send(cast(BinaryIO, child.process.stdin), {"end": True})
    except (OSError, ValueError):
        return False
    kept.append(child)
    return True


@dataclass
class RemoteRunner:
    """A ``Runner`` whose ``Session`` lives in a child process.

    Args:
        module: module of Recast with a ``Session`` class, e.g. ``"recast.formats.onnx.run"``.
        path: the model file.
        options: JSON-ready options for the session.

    Raises:
        RuntimeDied: the child crashed, hung or answered nonsense.
        RuntimeRefused: the runtime raised an error of its own.
        RecastError: whatever the session refused.
    """

    module: str
    path: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        options = {**self.options, **(_options.get() or {})}
        threads = options.get("threads")
        self._begun = False
        self._child = _idle(self, threads) or _Child(self.module, self.limits.gpus)
        self._child.threads.add(threads)
        hello = {"path": str(self.path), "options": options, "memory_bytes": self.limits.memory_bytes}
        try:
            answer, _ = self._ask(hello, {})
        except RecastError:
            self.close()
            raise
        self._begun = True
        self.inputs = tuple(TensorSpec(n, d, tuple(s)) for n, d, s in answer["inputs"])
        self.outputs = tuple(TensorSpec(n, d, tuple(s)) for n, d, s in answer["outputs"])

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once. Arrays in and out are keyed by tensor name; shapes and dtypes as in the specs."""
        return self._ask({}, dict(feeds))[1]

    def call(
        self, method: str, feeds: Mapping[str, np.ndarray] | None = None, **arguments: Any
    ) -> tuple[Any, dict[str, np.ndarray]]:
        """Call ``Session.<method>(feeds, **arguments) -> (json result, arrays)`` in the child."""
        answer, arrays = self._ask({"call": method, "arguments": arguments}, dict(feeds or {}))
        return answer["result"], arrays

    def memory(self) -> tuple[int, int] | None:
        """Bytes of the child process: before it opened the model, and at its peak since it began.

        None where the system does not tell (it needs ``/proc``).
        """
        told = self._ask({"memory": True}, {})[0]["result"]
        return (int(told[0]), int(told[1])) if told else None

    def close(self) -> None:
        """End the child and everything it started, or keep it for the next model inside ``pool()``."""
        child = self._child
        if not _keep(child, self._begun):
            child.end()

    def __enter__(self) -> RemoteRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(
        self, message: dict[str, Any], arrays: dict[str, np.ndarray]
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        hung = threading.Event()
        process = self._child.process

        def end() -> None:
            hung.set()
            process.kill()

        timer = threading.Timer(self.limits.timeout_s, end)
        timer.start()
        try:
            frames.send(cast(BinaryIO, process.stdin), message, arrays)
            answer, outputs = frames.receive(cast(BinaryIO, process.stdout))
        except (EOFError, OSError, ValueError, KeyError, TypeError) as error:
            process.kill()
            process.wait()
            raise self._death(hung.is_set()) from error
        finally:
            timer.cancel()
        if "error" in answer:
            raise self._refusal(answer["error"])
        return answer, outputs

    def _refusal(self, told: dict[str, str]) -> RecastError:
        kind = getattr(errors, told.get("class", ""), None)
        if isinstance(kind, type) and issubclass(kind, RecastError):
            return kind(told["what"], told.get("where", ""), told.get("fix", ""))
        what = "what it was given" if self._begun else "the model"
        return RuntimeRefused(f"the runtime refused {what}: {told['what']}", self._place())

    def _death(self, hung: bool) -> RuntimeDied:
        code = self._child.process.returncode
        if hung:
            how = f"did not answer in {self.limits.timeout_s:g} s"
        elif code is not None and code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
        else:
            how = f"ended with status {code}"
        tail = self._child.last_words()
        return RuntimeDied(f"the runtime {how}", self._place() + (f"; it said: {tail}" if tail else ""))

    def _place(self) -> str:
        return f"{self.path} in {self.module}"
