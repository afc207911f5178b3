"""Run the PyTorch modules that Recast writes on a GPU, and compare with the same modules on the CPU.

    python scripts/check_cuda.py [--form given] [--only conv] [--jobs 12] [--json FILE] [--device cuda]

ONNX's node tests, in both forms, are converted to ``.py``; each module runs on the CPU, is moved, and runs again.
Floats must agree within rtol 1e-3 and atol 1e-5 (TF32 is off), everything else exactly, and every output must be on
the device. Prints each case that is not right and the totals. Processes share the cases; one that a case killed, or
left with a broken CUDA context, is followed by a new one.

Exit code 1 where a case is wrong, raised or died, 2 where PyTorch sees no such device.
"""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
import sys
import tempfile
import time
import warnings
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]
warnings.simplefilter("ignore")

from tests.conformance.node_cases import FORMS, Result, _names, _written, cases, compare  # noqa: E402

from recast.formats.torch.run import Session  # noqa: E402
from recast.formats.torch.trust import made_here  # noqa: E402

_FORK = multiprocessing.get_context("fork")  # the cases are loaded once; the parent never starts CUDA
_PATIENCE_S = 60.0  # for one case
_POISON = ("CUDA error", "device-side assert", "CUDNN_STATUS", "CUBLAS_STATUS", "Accelerator")
Row = tuple[str, str]  # form and case


class Moved(Session):
    """A written module that runs on the CPU first, then on another device."""

    def on_cpu(self, feeds: dict[str, Any]) -> list[Any]:
        """The outputs, as arrays."""
        return [self._array(t) for t in self._call(self._tensors(feeds))]

    def on(self, device: str, feeds: dict[str, Any]) -> tuple[list[Any], list[str]]:
        """The outputs, as arrays, and where each was."""
        self.model.to(device)
        found = self._call([t.to(device) for t in self._tensors(feeds)])
        return [self._array(t) for t in found], [t.device.type for t in found]


def judged(row: Row, device: str) -> Result:
    """``pass``, ``refused`` (by the writer), ``wrong``, or ``raised`` (on the CPU or on the device)."""
    form, name = row
    with tempfile.TemporaryDirectory(prefix="recast-cuda-") as folder:
        case = cases()[name]
        made, arrays = _written(case, "torch", form, Path(folder))
        if isinstance(made, Result):
            return made if made.status == "refused" else Result("raised", made.told)
        where = "loading"
        try:
            session = Moved(str(made), {"sha256": made_here()})
            names = _names([i.name for i in case.model.graph.input][: len(arrays)], [s.name for s in session.inputs])
            feeds = {n: a for n, a in zip(names, arrays, strict=True) if n}
            where = "cpu"
            right = session.on_cpu(feeds)
            where = device
            found, places = session.on(device, feeds)
        except Exception as error:
            return Result("raised", f"{where}: {type(error).__name__}: {str(error).strip().splitlines()[0][:200]}")
    strange = [f"{i} ({p})" for i, p in enumerate(places) if p != device.partition(":")[0]]
    if strange:
        return Result("wrong", f"outputs that are not on {device}: {', '.join(strange)}")
    kinds = [f"output {i}: {b.dtype} instead of {a.dtype}" for i, (a, b) in enumerate(zip(right, found, strict=True))
             if a.dtype != b.dtype]  # fmt: skip
    return Result("wrong", kinds[0]) if kinds else compare(tuple(right), tuple(found))


def work(rows: list[Row], device: str, pipe: Connection) -> None:
    """In a child: one (status, told, seconds) a row, until a row breaks the context."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    for row in rows:
        start = time.perf_counter()
        result = judged(row, device)
        pipe.send((result.status, result.told, time.perf_counter() - start))
        if result.status == "raised" and any(p in result.told for p in _POISON):
            return


class Share:
    """Rows of one process, and of its successors."""

    def __init__(self, rows: list[Row], device: str) -> None:
        self.rows, self.device, self.poisoned = rows, device, False
        self.start()

    def start(self) -> None:
        """A new process takes what is left."""
        self.pipe, end = _FORK.Pipe(duplex=False)
        self.process = _FORK.Process(target=work, args=(self.rows, self.device, end), daemon=True)
        self.process.start()
        end.close()
        self.poisoned, self.since = False, time.monotonic()

    def take(self) -> tuple[Row, tuple[str, str, float]] | None:
        """What is there to read; where the process has ended, its row died and the next process starts."""
        try:
            found = self.pipe.recv()
            self.poisoned = any(p in found[1] for p in _POISON)
            self.since = time.monotonic()
            return self.rows.pop(0), found
        except EOFError:
            self.process.join()
            told = ("died", f"exit code {self.process.exitcode}", time.monotonic() - self.since)
            dead = None if self.poisoned or not self.rows else (self.rows.pop(0), told)
            if self.rows:
                self.start()
            return dead


def run(rows: list[Row], device: str, jobs: int) -> dict[Row, tuple[str, str, float]]:
    """Status, message and seconds of every row."""
    shares = [Share(rows[i::jobs], device) for i in range(min(jobs, len(rows)))]
    found: dict[Row, tuple[str, str, float]] = {}
    while any(s.rows for s in shares):
        going = {s.pipe: s for s in shares if s.rows}
        for pipe in wait(list(going), timeout=1.0):
            answer = going[pipe].take()
            if answer is not None:
                found[answer[0]] = answer[1]
        for share in going.values():
            if share.rows and time.monotonic() - share.since > _PATIENCE_S:
                share.process.kill()  # its pipe ends, and its row is one that died
                share.since = time.monotonic()
    return found


def available(device: str) -> bool:
    """Whether PyTorch can use the device; asked in a child, so that this process can fork later."""
    asked = _FORK.Process(target=_ask, args=(device,))
    asked.start()
    asked.join()
    return asked.exitcode == 0


def _ask(device: str) -> None:
    import torch

    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError):  # the latter: "not compiled with CUDA enabled"
        sys.exit(1)


def main() -> int:
    """See the exit codes above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cpu tries this script without a GPU")
    parser.add_argument("--form", choices=FORMS, action="append", help="default: both")
    parser.add_argument("--only", default="", help="cases with this in their names")
    parser.add_argument("--jobs", type=int, default=12, help="processes")
    parser.add_argument("--json", type=Path, help="write every case's outcome there")
    chosen = parser.parse_args()
    if not available(chosen.device):
        print(f"PyTorch sees no device {chosen.device!r} here: nothing was checked", file=sys.stderr)
        return 2
    start = time.perf_counter()
    rows = [(form, name) for name in cases() if chosen.only in name for form in chosen.form or FORMS]
    found = run(rows, chosen.device, max(1, chosen.jobs))
    for (form, name), (status, told, _) in sorted(found.items(), key=lambda item: (item[1][0], item[0])):
        if status not in ("pass", "refused"):
            print(f"{status:7} {form:9} {name}: {told}")
    seconds = time.perf_counter() - start
    print(f"{'form':10}{'cases':>7}{'right':>7}{'wrong':>7}{'raised':>7}{'died':>7}{'refused':>9}")
    for form in chosen.form or FORMS:
        n = collections.Counter(status for (f, _), (status, *_) in found.items() if f == form)
        counts = f"{n['pass']:7}{n['wrong']:7}{n['raised']:7}{n['died']:7}{n['refused']:9}"
        print(f"{form:10}{sum(n.values()):7}{counts}")
    print(f"{seconds:.1f} s on {chosen.device} with {chosen.jobs} processes")
    if chosen.json:
        table = [
            {"form": f, "case": c, "status": s, "told": t, "seconds": round(d, 4)}
            for (f, c), (s, t, d) in found.items()
        ]
        chosen.json.write_text(json.dumps({"device": chosen.device, "seconds": seconds, "cases": table}, indent=1))
    return int(any(status not in ("pass", "refused") for status, *_ in found.values()) or len(found) != len(rows))


if __name__ == "__main__":
    sys.exit(main())
