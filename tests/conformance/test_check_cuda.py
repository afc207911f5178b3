"""The script for machines with a GPU works where there is none: on the CPU as the device, and by saying so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check_cuda.py"


def ran(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *options], capture_output=True, text=True, check=False)


def test_cases_are_compared(tmp_path: Path) -> None:
    done = ran("--device", "cpu", "--only", "bitshift_left", "--jobs", "2", "--json", str(tmp_path / "found.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((tmp_path / "found.json").read_text())["cases"]
    assert {c["status"] for c in told} == {"pass"}
    names = {form: sorted(c["case"] for c in told if c["form"] == form) for form in ("given", "constant")}
    assert "bitshift_left_uint16" in names["given"]
    assert names["given"] == names["constant"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_machine_without_gpu_is_told() -> None:
    done = ran()
    assert (done.returncode, done.stdout) == (2, "")
    assert "no device 'cuda'" in done.stderr
