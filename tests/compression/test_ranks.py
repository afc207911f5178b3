"""``torchrun`` with two processes trains the weights that one process trains, and only the first of them writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import recast

from .group_nets import Net

pytest.importorskip("torch")

RECIPE = """
[[step]]
distill = {{teacher = "{teacher}", options = {{epochs = 1, rate = 0.001}}}}
"""


def network(seed: int, width: int) -> ir.Model:
    """Normalisations, which look at whole batches, and one branch."""
    n = Net(np.random.default_rng(seed), ("batch", 3, 11, 13))
    x = n.op("Relu", n.norm(n.conv(n.x, width, bias=False)))
    return n.scores(n.op("Add", x, n.op("Relu", n.norm(n.conv(x, width, bias=False)))))


def compressed(folder: Path, name: str, launcher: list[str]) -> dict[str, np.ndarray]:
    """Weights of what the command line delivered."""
    told = ["--recipe", "r.toml", "--data", "data.npz", "--allow-worse", "--budget", "slower<99"]
    command = [*launcher, "recast", "compress", "student.onnx", name, *told]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("worse, as allowed") <= 1
    model = recast.load(folder / name)
    return {n: v.const_value.numpy() for n, v in model.graph.initializers.items() if v.const_value is not None}


def test_two_processes_train_what_one_trains(tmp_path: Path, rng: np.random.Generator) -> None:
    student = network(5, 7)
    before = {n: v.const_value.numpy() for n, v in student.graph.initializers.items() if v.const_value is not None}
    recast.save(network(3, 11), tmp_path / "teacher.onnx")
    recast.save(student, tmp_path / "student.onnx")
    x = rng.standard_normal((330, 3, 11, 13)).astype(np.float32)  # half of them: batches of 9, shared 5 and 4
    np.savez(tmp_path / "data.npz", x=x, y=rng.integers(0, 5, len(x)))
    (tmp_path / "r.toml").write_text(RECIPE.format(teacher="teacher.onnx"))
    alone = compressed(tmp_path, "alone.onnx", [sys.executable, "-m"])
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    both = compressed(tmp_path, "both.onnx", torchrun)
    moved = 0
    for name, array in alone.items():
        np.testing.assert_allclose(both[name], array, rtol=1e-3, atol=3e-4, err_msg=name)
        moved += int(name in before and np.abs(array - before[name]).max() > 3e-3)
    assert moved >= 8  # kernels, scales, statistics: all have been trained
