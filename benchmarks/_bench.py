"""Shared by the benchmarks: measured child processes, medians, one JSON per script."""

from __future__ import annotations

import argparse
import compileall
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT.parent / "shared" / "models"
RESULTS = ROOT / "benchmarks" / "results"

# As an installer does; the peers are installed and compiled too.
compileall.compile_dir(ROOT / "src", quiet=2)

_HIDDEN = """
import sys

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"tensorflow", "keras", "torch", "mindspore", "openvino"}:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, Hide())
"""


@dataclass(frozen=True)
class Cost:
    """What one process and its children took: CPU and wall seconds; peak resident memory of the largest in MB."""

    cpu_s: float
    wall_s: float
    peak_mb: float


def child(command: Sequence[str], environment: dict[str, str] | None = None) -> Cost:
    """Run a command to its end and measure it.

    Raises:
        RuntimeError: it failed; its last words are quoted.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT, env=environment)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - start
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: {output.decode(errors='replace')[-800:]}")
    return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024)


def median_cost(costs: Sequence[Cost]) -> Cost:
    """Median of each figure."""
    return Cost(*(statistics.median(getattr(c, f) for c in costs) for f in ("cpu_s", "wall_s", "peak_mb")))


def interleaved(commands: dict[str, Sequence[str]], rounds: int) -> dict[str, Cost]:
    """Run the commands in turn, ``rounds`` times, and give each its median."""
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            costs[name].append(child(command))
    return {name: median_cost(found) for name, found in costs.items()}


def recast(*arguments: str) -> list[str]:
    """The command line of this installation."""
    return [sys.executable, "-m", "recast", *arguments]


def base_install(folder: Path) -> dict[str, str]:
    """An environment in which the optional frameworks cannot be found, as after ``pip install recast-nn``."""
    (folder / "sitecustomize.py").write_text(_HIDDEN)
    return {**os.environ, "PYTHONPATH": str(folder)}


def peer(*arguments: str) -> list[str]:
    """``benchmarks/peers.py`` as a process of its own."""
    return [sys.executable, str(ROOT / "benchmarks" / "peers.py"), *arguments]


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows under a title."""
    texts = [[_text(v) for v in row] for row in rows]
    widths = [max(len(c), *(len(r[i]) for r in texts)) if texts else len(c) for i, c in enumerate(columns)]
    print(f"\n{title}")
    print("  ".join(c.ljust(w) for c, w in zip(columns, widths, strict=True)))
    for row in texts:
        print("  ".join(v.ljust(w) for v, w in zip(row, widths, strict=True)))
    sys.stdout.flush()


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def save(name: str, data: Any) -> None:
    """Write ``benchmarks/results/<name>.json``."""
    RESULTS.mkdir(exist_ok=True)

    def plain(value: Any) -> Any:
        return asdict(value) if isinstance(value, Cost) else str(value)

    (RESULTS / f"{name}.json").write_text(json.dumps(data, indent=1, default=plain) + "\n")


def rounds(default: int) -> int:
    """``--rounds N`` of the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=default)
    return int(parser.parse_known_args()[0].rounds)
