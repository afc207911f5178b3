"""However a runtime dies, the tool lives: every way of dying is one RuntimeDied."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from recast._util.child import Limits, RemoteRunner, _started, opening, pool, started
from recast.errors import RecastError, RuntimeDied, UnsafeModel

FAULTS = {
    "segfault": "import ctypes; ctypes.string_at(0)",
    "abort": "import os; os.abort()",
    "exit-zero": "import os; os._exit(0)",
    "hang": "import time; time.sleep(60)",
    "busy-loop": "while True: pass",
    "memory": "x = bytearray(1 << 40)",
    "garbage-on-stdout": "import os; os.write(1, b'garbage' * 1000); raise ValueError('after garbage')",
    "stack": "import sys; sys.setrecursionlimit(10**9); f = lambda: f(); f()",
    "exception": "raise KeyError('x')",
}

HEADER = "from recast._util.child import TensorSpec\nfrom recast.errors import UnsafeModel\nimport numpy as np\n"
CLASS = """
class Session:
    inputs = [TensorSpec("x", "float32", (2, 3))]
    outputs = [TensorSpec("y", "float32", (2, 3))]
    def __init__(self, path, options):
        {start}
    def run(self, feeds):
        {run}
        return {{"y": feeds["x"] * 2}}
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def make(start: str = "pass", run: str = "pass") -> str:
        name = f"fault_{abs(hash((start, run)))}"
        (tmp_path / f"{name}.py").write_text(HEADER + CLASS.format(start=start, run=run))
        return name

    return make


@pytest.mark.parametrize("fault", FAULTS, ids=list(FAULTS))
@pytest.mark.parametrize("moment", ["start", "run"])
def test_a_dead_child_is_an_error(fault: str, moment: str, module) -> None:
    name = module(**{moment: FAULTS[fault]})
    with pytest.raises(RuntimeDied) as caught:
        with RemoteRunner(name, Path("model"), limits=Limits(timeout_s=3)) as runner:
            runner.run({"x": np.zeros((2, 3), np.float32)})
    assert "model in fault_" in caught.value.where


def test_a_good_child_answers(module) -> None:
    with RemoteRunner(module(), Path("model")) as runner:
        x = np.arange(6, dtype=np.float32).reshape(2, 3)
        for _ in range(3):
            np.testing.assert_array_equal(runner.run({"x": x})["y"], 2 * x)


def test_refusals_keep_their_class(module) -> None:
    name = module(start="raise UnsafeModel('no', 'here', 'mend')")
    with pytest.raises(UnsafeModel) as caught:
        RemoteRunner(name, Path("model"))
    assert (caught.value.what, caught.value.where, caught.value.fix) == ("no", "here", "mend")


def test_output_of_the_runtime_does_not_disturb(module) -> None:
    with RemoteRunner(module(run="print('chatter', flush=True)"), Path("model")) as runner:
        assert runner.run({"x": np.ones((2, 3), np.float32)})["y"].sum() == 12


def test_memory_limit(module) -> None:
    name = module(run="hog = np.ones(1 << 31)")
    with pytest.raises(RecastError, match="MemoryError"):
        with RemoteRunner(name, Path("model"), limits=Limits(memory_bytes=4 << 30)) as runner:
            runner.run({"x": np.zeros((2, 3), np.float32)})


def test_only_who_may_sees_gpus(module, monkeypatch: pytest.MonkeyPatch) -> None:
    name = module(
        start="import os; self.outputs = [TensorSpec(os.environ.get('CUDA_VISIBLE_DEVICES', 'all'), 'float32', ())]"
    )
    for given in ("0,1", None):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given) if given else monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        with pool():  # nor does a child that waits there for one that may not
            seen = []
            for gpus in (True, False, True):
                with RemoteRunner(name, Path("model"), limits=Limits(gpus=gpus)) as runner:
                    seen.append(runner.outputs[0].name)
        assert seen == [given or "all", "-1", given or "all"]


def test_a_pool_keeps_children(module) -> None:
    name = module(start="import os; self.outputs = [TensorSpec(str(os.getpid()), 'float32', ())]")
    with pool():
        pids = []
        for _ in range(3):
            with RemoteRunner(name, Path("model")) as runner:
                pids.append(runner.outputs[0].name)
        assert len(set(pids)) == 1
    with RemoteRunner(name, Path("model")) as runner:
        assert runner.outputs[0].name != pids[0]


def test_a_pool_survives_refusals_and_deaths(module) -> None:
    name = module(start="\n        ".join(["import os", "if path == 'bad': raise UnsafeModel('no')",
                                            "if path == 'dead': os.abort()"]))  # fmt: skip
    with pool():
        for path, error in (
            ("good", None),
            ("bad", UnsafeModel),
            ("good", None),
            ("dead", RuntimeDied),
            ("good", None),
        ):
            if error is None:
                with RemoteRunner(name, Path(path)) as runner:
                    assert runner.run({"x": np.ones((2, 3), np.float32)})["y"].sum() == 12
            else:
                with pytest.raises(error):
                    RemoteRunner(name, Path(path))


def test_started_children_go_to_the_first_runners(module) -> None:
    name = module(start="import os; self.outputs = [TensorSpec(str(os.getpid()), 'float32', ())]")
    with started([name, name]):
        ready = list(_started.get() or ())
        with RemoteRunner(name, Path("model")) as runner:
            assert int(runner.outputs[0].name) in [child.process.pid for child in ready]
        assert sum(child.process.poll() is None for child in ready) == 1, "outside a pool a closed child ends"
    assert len(ready) == 2
    assert all(child.process.poll() is not None for child in ready), "the unused one is ended"


def test_a_runtime_that_dies_while_it_loads_is_told_at_the_first_runner(module, tmp_path: Path) -> None:
    name = module()
    with (tmp_path / f"{name}.py").open("a") as file:
        file.write("\n\ndef preload():\n    import os; os.abort()\n")
    with started([name]), pytest.raises(RuntimeDied, match="SIGABRT"):
        RemoteRunner(name, Path("model"))


def test_options_of_a_block_reach_the_session(module) -> None:
    name = module(start="self.scale = options.get('scale', 2)", run="return {'y': feeds['x'] * self.scale}")
    feeds = {"x": np.ones((2, 3), np.float32)}
    with opening(scale=7), RemoteRunner(name, Path("model")) as runner:
        assert runner.run(feeds)["y"][0, 0] == 7
    with RemoteRunner(name, Path("model"), {"scale": 3}) as runner:
        assert runner.run(feeds)["y"][0, 0] == 3


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell memory")
def test_peak_memory_is_the_childs_own(module) -> None:
    name = module(run="block = np.ones(52_000_000, np.uint8); del block")
    # some pages of before come free, and the system counts in batches: the block is a little larger than what is asked
    ballast = np.ones(200_000_000, np.uint8)  # the parent's memory must not count
    with RemoteRunner(name, Path("model")) as runner:
        first = runner.memory()
        assert first is not None
        runner.run({"x": np.zeros((2, 3), np.float32)})
        before, peak = runner.memory() or (0, 0)
    assert before == first[0]
    assert 50e6 < peak - before < 90e6
    assert peak < ballast.nbytes


def test_a_child_serves_one_number_of_threads(module) -> None:
    """MindSpore takes the number once in a process, and so does TensorFlow, which says nothing."""
    name = module(start="pass")
    served = []
    with pool():
        for threads in (1, 1, 2, None, 2):
            with (
                opening(**({} if threads is None else {"threads": threads})),
                RemoteRunner(name, Path("model")) as runner,
            ):
                served.append(runner._child.process.pid)
    assert served[0] == served[1]
    assert served[2] == served[4]
    assert len(set(served)) == 3
