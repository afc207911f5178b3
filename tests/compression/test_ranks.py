"""``torchrun`` with two processes trains the weights that one process trains, and only the first of them writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx_ir as ir
import pytest

import recast
from recast._util import ranks
from recast.formats.torch import team

from .group_nets import Net

torch = pytest.importorskip("torch")
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")

RECIPE = """
[[step]]
distill = {{teacher = "{teacher}", options = {{epochs = 2, rate = 0.005}}}}
"""


def network(width: int, gain: float) -> ir.Model:
    """Normalisations, which look at whole batches, and a branch; large gradients, so that Adam enlarges no noise."""
    n = Net(np.random.default_rng(5), ("batch", 3, 11, 13))

    def layer(x: ir.Value) -> ir.Value:
        parts = [
            n.b.weight(name, np.full(width, v, np.float32)) for name, v in (("s", 1), ("b", 0), ("m", 0), ("v", 1))
        ]
        return n.op("Relu", n.op("BatchNormalization", n.conv(x, width, bias=False), *parts))

    x = layer(n.x)
    x = n.op("Flatten", n.op("Add", x, layer(x)), axis=1)
    kernel = gain * n.rng.standard_normal((width * 11 * 13, 5)) / 30
    return n.end(n.op("Gemm", x, n.b.weight("w", kernel.astype(np.float32)), n.w(5, name="bias")))


def compressed(folder: Path, name: str, launcher: list[str], gpus: str) -> dict[str, np.ndarray]:
    """Weights of what the command line delivered."""
    told = ["--recipe", "r.toml", "--data", "data.npz", "--allow-worse", "--budget", "slower<99"]
    command = [*launcher, "recast", "compress", "student.onnx", name, *told]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": gpus}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("worse, as allowed") <= 1
    model = recast.load(folder / name)
    return {n: v.const_value.numpy() for n, v in model.graph.initializers.items() if v.const_value is not None}


@pytest.mark.parametrize(("gpus", "processes", "own"), [(0, 2, False), (1, 2, False), (2, 2, True), (3, 2, True)])
def test_nccl_is_for_processes_with_gpus_of_their_own(
    gpus: int, processes: int, own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = SimpleNamespace(is_available=lambda: gpus > 0, device_count=lambda: gpus)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))  # of this machine; there may be more elsewhere
    monkeypatch.setattr(ranks, "size", lambda: 8)
    assert team._own_gpus(SimpleNamespace(cuda=cuda)) == own


@pytest.mark.parametrize("gpus", ["-1", pytest.param("0", marks=GPU)], ids=["processor", "one GPU for both"])
def test_two_processes_train_what_one_trains(tmp_path: Path, gpus: str) -> None:
    student = network(7, 9.0)  # far from its teacher
    rng = np.random.default_rng(0)  # with these samples training helps, so that something has moved
    before = {n: v.const_value.numpy() for n, v in student.graph.initializers.items() if v.const_value is not None}
    recast.save(network(11, 1.0), tmp_path / "teacher.onnx")
    recast.save(student, tmp_path / "student.onnx")
    x = rng.standard_normal((330, 3, 11, 13)).astype(np.float32)  # half of them: batches of 9, shared 5 and 4
    np.savez(tmp_path / "data.npz", x=x, y=rng.integers(0, 5, len(x)))
    (tmp_path / "r.toml").write_text(RECIPE.format(teacher="teacher.onnx"))
    alone = compressed(tmp_path, "alone.onnx", [sys.executable, "-m"], gpus)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    both = compressed(tmp_path, "both.onnx", torchrun, gpus)
    moved = 0
    for name, array in alone.items():
        np.testing.assert_allclose(both[name], array, rtol=1e-4, atol=1e-5, err_msg=name)
        moved += int(name in before and np.abs(array - before[name]).max() > 0.02)
    assert moved >= 8  # kernels, scales, statistics: all have been trained
