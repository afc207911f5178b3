"""``import recast`` and ``recast --help`` load no framework and no graph library."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ["torch", "tensorflow", "keras", "mindspore", "openvino", "onnxruntime", "ai_edge_litert", "onnx", "onnx_ir",
         "numpy", "sympy", "scipy", "h5py", "pyfive"]  # fmt: skip


PROBE = """
import sys, json
{code}
real = [name for name, module in sys.modules.items() if getattr(module, "__loader__", None)]
print("LOADED", json.dumps(real))  # the stand-in of a deferred module has no loader
"""


def loaded(code: str) -> set[str]:
    command = [sys.executable, "-c", PROBE.format(code=code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    line = next(x for x in done.stdout.splitlines() if x.startswith("LOADED"))
    return set(json.loads(line.removeprefix("LOADED ")))


@pytest.mark.parametrize(
    "code",
    [
        "import recast",
        "sys.argv = ['recast', '--help']; from recast.cli.guard import guarded; "
        "from recast.cli.app import app; guarded(app)",
        "from recast.formats import catalogue; catalogue()",
    ],
    ids=["import", "help", "formats"],
)
def test_lean(code: str) -> None:
    modules = loaded(code)
    assert not modules & set(HEAVY)


def test_the_child_that_runs_pytorch_needs_no_graph() -> None:
    """Every such child would pay for it."""
    assert not loaded("import recast.formats.torch.run") & {"onnx", "onnx_ir", "torch"}


def test_the_probe_can_fail() -> None:
    assert "numpy" in loaded("import numpy")


def test_every_public_name_is_there() -> None:
    import recast

    for name in recast.__all__:
        assert getattr(recast, name) is not None
