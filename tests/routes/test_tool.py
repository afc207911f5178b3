"""However a tool ends, it is one coded error with its own words in it, and nothing of it is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from recast._util import progress
from recast.errors import BadRecipe, RecastError, RuntimeDied, ToolFailed
from recast.routes._route import Route
from recast.routes.interpreters import Interpreter
from recast.routes.tool import Bounds, Tool

JOB = {"source": "model", "kind": "keras", "target": "out", "to": "onnx"}
SHORT = Bounds(timeout_s=30)
OWN = Interpreter(Path(sys.executable), "own", "1")


def route(folder: Path, body: str) -> Route:
    file = folder / "bad_tool.py"
    file.write_text(f"import ctypes, os, sys, time\ndef convert(job):\n    {body}\n")
    return Route("bad-tool", "", "bad", (), (), (("keras", "onnx"),), file)


def failure(folder: Path, body: str, bounds: Bounds = SHORT) -> RecastError:
    with Tool(route(folder, body), OWN, bounds) as tool, pytest.raises(RecastError) as caught:
        tool.convert(JOB)
    return caught.value


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ("print('half way'); raise KeyError('weight')", ToolFailed, "KeyError: 'weight'"),
        ("sys.exit('no such option')", ToolFailed, "no such option"),
        ("ctypes.string_at(0)", RuntimeDied, "SIGSEGV"),
        ("os.abort()", RuntimeDied, "SIGABRT"),
        ("os._exit(0)", RuntimeDied, "ended with 0"),
    ],
    ids=["raises", "exits", "crashes", "aborts", "leaves"],
)
def test_a_tool_that_fails(tmp_path: Path, body: str, kind: type[RecastError], words: str) -> None:
    error = failure(tmp_path, body)
    assert type(error) is kind
    assert words in error.what
    assert "bad-tool" in error.what


def test_its_last_words_are_quoted(tmp_path: Path) -> None:
    error = failure(tmp_path, "print('x' * 9000); print('cannot find libfoo', file=sys.stderr); os.abort()")
    assert "cannot find libfoo" in error.where
    assert len(error.where) < 2000


def test_a_tool_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    body = (
        f"import subprocess; open({str(pid)!r}, 'w').write(str(subprocess.Popen(['sleep', '60']).pid)); time.sleep(60)"
    )
    start = time.monotonic()
    error = failure(tmp_path, body, Bounds(timeout_s=3))
    assert time.monotonic() - start < 30
    assert isinstance(error, RuntimeDied)
    assert "did not end in 3 s" in error.what
    assert "--tool-timeout" in error.fix
    assert gone(int(pid.read_text()))


def gone(pid: int) -> bool:
    for _ in range(100):
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="memory is watched through /proc")
def test_a_tool_that_takes_too_much_memory(tmp_path: Path) -> None:
    error = failure(tmp_path, "x = b'1' * 400_000_000; time.sleep(60)", Bounds(60, memory_bytes=200_000_000))
    assert isinstance(error, RuntimeDied)
    assert "took more than 200 MB" in error.what


def test_what_a_tool_prints_is_no_answer(tmp_path: Path) -> None:
    with Tool(route(tmp_path, "os.write(1, b'{\"notes\": 5}\\n'); return ['told']"), OWN, Bounds(30)) as tool:
        assert tool.convert(JOB) == ("told",)


def test_progress_is_told_while_it_works(tmp_path: Path) -> None:
    events: list[progress.Event] = []
    with progress.listening(events.append), Tool(route(tmp_path, "time.sleep(1)"), OWN, Bounds(30)) as tool:
        tool.convert(JOB)
    assert any("bad-tool" in event.task for event in events)


def test_the_child_ends_when_its_parent_is_gone(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    made = route(tmp_path, f"open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)")
    code = (
        "import sys; from pathlib import Path; from tests.routes.test_tool import *\n"
        f"Tool(Route('t', '', 't', (), (), (), Path({str(made.file)!r})), OWN, Bounds()).convert(JOB)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    deadline = time.monotonic() + 60
    while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert gone(int(pid.read_text()))


def test_ctrl_c_ends_the_tool(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    made = route(tmp_path, f"open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)")
    code = (
        "from pathlib import Path; from tests.routes.test_tool import *\n"
        f"made = Route('t', '', 't', (), (), (), Path({str(made.file)!r}))\n"
        "with Tool(made, OWN, SHORT) as tool: tool.convert(JOB)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    parent.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in parent.communicate()[1]
    assert gone(int(pid.read_text()))


def test_the_source_runs_in_the_tools_python(tmp_path: Path) -> None:
    """Arrays by position, both ways, of every plain type."""
    source = (
        "    class S:\n"
        "        inputs = [['a', 'float32', [2, 'n']], ['b', 'int64', [3]]]\n"
        "        outputs = [['y', 'float32', [2, 'n']], ['z', 'int64', [3]]]\n"
        "        runtime = 'made up 7'\n"
        "        def run(self, arrays): return [arrays[0] * 2, arrays[1] + 1]\n"
        "    type(job).source_model = lambda job: S()\n"
    )
    made = route(tmp_path, f"\n{source}")
    feeds = {"a": np.arange(14, dtype=np.float32).reshape(2, 7), "b": np.array([5, 6, 7])}
    with Tool(made, OWN, Bounds(30)) as tool:
        tool.convert(JOB)
        found = tool.reference(JOB)
        assert found.runtime == "made up 7 (as bad-tool has it)"
        assert found.inputs[0].shape == (2, "n")
        outputs = found.run(feeds)
    np.testing.assert_array_equal(outputs["y"], feeds["a"] * 2)
    np.testing.assert_array_equal(outputs["z"], feeds["b"] + 1)


def test_a_request_that_does_not_fit_is_the_callers_fault(tmp_path: Path) -> None:
    with Tool(route(tmp_path, "pass"), OWN, Bounds(30)) as tool, pytest.raises(BadRecipe) as caught:
        tool.reference({**JOB, "kind": "torchscript", "source": "x.pt"})
    assert "--trust" in caught.value.fix


def test_a_foreign_python_does_not_see_our_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/ours")
    assert "PYTHONPATH" not in Interpreter(Path("python"), "private").environment()
    assert "PYTHONPATH" in Interpreter(Path("python"), "own").environment()
