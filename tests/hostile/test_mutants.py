"""Damaged files of every format: one clear error, in under 10 s and 1 GiB, and never anything else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import recast
from recast.demo import MODEL

MUTANTS = 250
UNPROVED = recast.Recipe(checking=recast.Checking(verify=False))


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".onnx", ".tflite", ".mindir", ".safetensors", ".npz", ".pt"])
def test_mutants(suffix: str, tmp_path: Path) -> None:
    seed = tmp_path / f"seed{suffix}"
    if suffix == ".keras":
        seed.write_bytes(MODEL.read_bytes())
    else:
        recast.convert(MODEL, seed, UNPROVED)
    folder = tmp_path / "mutants"
    folder.mkdir()
    command = [sys.executable, str(Path(__file__).with_name("mutants.py")), str(seed), str(MUTANTS), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["odd"] == []
    assert found["refused"] > MUTANTS // 5, "mutants that are never refused test nothing"
    assert found["slowest_s"] < 10
    assert found["peak_mb"] < 1024
