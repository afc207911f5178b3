"""A tool in its child process, seen from here: it converts, and runs the source as the reference."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from recast._util import progress
from recast._util.child import TensorSpec
from recast.errors import BadModel, BadRecipe, RuntimeDied, ToolFailed
from recast.routes._route import Route
from recast.routes.interpreters import Interpreter

MAIN = Path(__file__).with_name("child") / "main.py"
_TAIL_BYTES, _TICK_S = 1200, 0.25
_NONSENSE = "answered nonsense"


@dataclass(frozen=True)
class Bounds:
    """What a tool may use: seconds for one request, and resident bytes of all its processes (0: any number)."""

    timeout_s: float = 1800.0
    memory_bytes: int = 0


class Tool:
    """The child process of one route in one interpreter.

    Raises:
        ToolFailed: the tool refused or raised.
        RuntimeDied: it crashed, or was ended at one of its bounds.
    """

    def __init__(self, route: Route, interpreter: Interpreter, bounds: Bounds) -> None:
        self.route, self.interpreter, self._bounds = route, interpreter, bounds
        self._folder = tempfile.TemporaryDirectory(prefix="recast-route-")
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 closed in close()
        self._closed = False
        self._process = subprocess.Popen(
            [str(interpreter.python), str(MAIN), str(route.file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=interpreter.environment(),
            start_new_session=True,
            encoding="utf-8",
        )

    def __enter__(self) -> Tool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def convert(self, job: Mapping[str, Any]) -> tuple[str, ...]:
        """Have a file made. Returns what the tool told about it."""
        answer = self._ask({"do": "convert", **job}, f"{self.route.name} converts")
        return tuple(str(note) for note in answer["notes"])

    def reference(self, job: Mapping[str, Any]) -> Reference:
        """The source in its own framework, as this interpreter has it."""
        return Reference(self, self._ask({"do": "open", **job}, f"{self.route.name} loads the source"))

    def run(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """Run the source once; arrays by position."""
        feeds, results = Path(self._folder.name) / "feeds.npz", Path(self._folder.name) / "results.npz"
        np.savez(feeds, **{f"a{i}": a for i, a in enumerate(arrays)})  # type: ignore[arg-type]
        self._ask({"do": "run", "feeds": str(feeds), "results": str(results)}, "running the source")
        with np.load(results, allow_pickle=False) as held:
            return [held[f"a{i}"] for i in range(len(held.files))]

    def close(self) -> None:
        """End the child with everything that it started (once; later calls do nothing)."""
        if self._closed:
            return
        self._closed = True
        self._kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            with contextlib.suppress(OSError):  # a broken pipe has nothing left to flush
                if stream is not None:
                    stream.close()
        self._folder.cleanup()

    def _kill(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (OSError, AttributeError):
            self._process.kill()

    def _ask(self, request: Mapping[str, Any], task: str) -> dict[str, Any]:
        writer, reader = self._process.stdin, self._process.stdout
        if writer is None or reader is None:
            raise ValueError("the child has no pipes")
        with self._watched(task) as ended:
            line = self._exchange(json.dumps(dict(request)), writer, reader)
        answer = _answer(line)
        if answer is None:
            if line and not ended:
                ended.append(_NONSENSE)
                self._kill()
            raise self._death(ended)
        if "error" in answer:
            where = f"{self.route.name} ({self.interpreter.told})"
            if "fix" in answer:
                raise BadRecipe(answer["error"], where, answer["fix"])
            tail = self._last_words(answer["error"])
            raise ToolFailed(
                f"{self.route.name} failed: {answer['error']}",
                where + (f"; it said: {tail}" if tail else ""),
                "see 'recast routes SRC DST' for other ways",
            )
        return answer

    def _exchange(self, text: str, writer: IO[str], reader: IO[str]) -> str:
        try:
            writer.write(text + "\n")
            writer.flush()
            return reader.readline()
        except (OSError, ValueError):  # the pipe is broken, or what came is no text
            return ""

    @contextlib.contextmanager
    def _watched(self, task: str) -> Iterator[list[str]]:
        """Kill the child at its bounds while the block waits for it; why is left in the list. Shows progress."""
        ended: list[str] = []
        done, start = threading.Event(), time.monotonic()
        listener = progress.current()

        def watch() -> None:
            while not done.wait(_TICK_S):
                if time.monotonic() - start > self._bounds.timeout_s:
                    ended.append(f"did not end in {self._bounds.timeout_s:g} s")
                elif 0 < self._bounds.memory_bytes < resident_bytes(self._process.pid):
                    ended.append(f"took more than {self._bounds.memory_bytes / 1e6:.0f} MB")
                if ended:
                    return self._kill()
                if listener is not None:
                    listener(progress.Event(task))

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield ended
        finally:
            done.set()
            thread.join()

    def _death(self, ended: list[str]) -> RuntimeDied:
        code = self._process.wait()
        how = ended[0] if ended else f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        tail = self._last_words()
        bound = ended and ended[0] != _NONSENSE
        fix = "raise --tool-timeout or --tool-memory" if bound else "see 'recast routes SRC DST' for other ways"
        where = self.interpreter.told + (f"; it said: {tail}" if tail else "")
        return RuntimeDied(f"{self.route.name} {how}", where, fix)

    def _last_words(self, known: str = "") -> str:
        """The end of what it printed, without what is said already."""
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - _TAIL_BYTES))
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return "\n".join(line for line in lines if line.strip() and line.strip() not in known)


class Reference:
    """A ``Runner``: the source as the tool's interpreter runs it."""

    def __init__(self, tool: Tool, told: Mapping[str, Any]) -> None:
        self._tool = tool
        self.runtime = f"{told['runtime']} (as {tool.route.name} has it)"
        self.inputs = tuple(_spec(s) for s in told["inputs"])
        self.outputs = tuple(_spec(s) for s in told["outputs"])

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once; arrays by tensor name."""
        made = self._tool.run([feeds[s.name] for s in self.inputs])
        if len(made) != len(self.outputs):
            raise BadModel(f"the source gave {len(made)} outputs, {len(self.outputs)} were announced")
        return {s.name: a for s, a in zip(self.outputs, made, strict=True)}

    def close(self) -> None:
        """The tool is closed by who opened it."""


def _answer(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _spec(told: list[Any]) -> TensorSpec:
    return TensorSpec(str(told[0]), str(told[1]), tuple(told[2]))


def resident_bytes(pid: int) -> int:
    """Resident bytes of a process and of those it started; 0 where the system does not tell (it needs ``/proc``)."""
    total, waiting = 0, [pid]
    while waiting:
        here = waiting.pop()
        try:
            with open(f"/proc/{here}/statm", encoding="ascii") as file:
                total += int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            for task in os.listdir(f"/proc/{here}/task"):
                with open(f"/proc/{here}/task/{task}/children", encoding="ascii") as file:
                    waiting += [int(word) for word in file.read().split()]
        except (OSError, ValueError, IndexError):
            continue
    return total
