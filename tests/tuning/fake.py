"""A search whose trials cost nothing: made-up figures and files, so that many ways to be interrupted can be tried.

``python -m tests.tuning.fake TARGET COUNT``: search, and die (as by SIGKILL) at the COUNT-th change of a file's name;
0: to the end. Loads nothing heavy.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recast.compression.gate import Limits
from recast.tuning import search
from recast.tuning.engines import Order
from recast.tuning.outcome import Tuned
from recast.tuning.search import Settings, Tuning

TRIALS = 9


def content(words: str) -> bytes:
    """The made-up result of a recipe: it shrinks from trial to trial, as its digest says."""
    return hashlib.sha256(words.encode()).hexdigest().encode() * 9


class Fake:
    """An engine that makes files up."""

    def __init__(self, job: Any, width: int) -> None:
        self.width, self._target, self._done = width, job.target, 0

    def original(self, folder: Path) -> None:
        pass

    def batch(self, orders: Sequence[Order], deadline: float) -> list[dict[str, Any] | None]:
        return [self._trial(o) for o in orders]

    def _trial(self, order: Order) -> dict[str, Any]:
        key = json.dumps(order.steps, sort_keys=True)
        number = int(hashlib.sha256(key.encode()).hexdigest(), 16)
        if number % 7 == 0:
            return {"files": [], "comparison": None, "refused": "[E301] made up", "digest": ""}
        order.folder.mkdir(parents=True, exist_ok=True)
        names = (self._target, "companion.bin", self._target + ".recast.json")
        files = [order.folder / n for n in (names if "companion" in self._target else (names[0], names[2]))]
        data = content(key)
        for file in files:
            file.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        files[-1].write_text(json.dumps({"outputs": [{"sha256": digest}]}))
        comparison = {"size_bytes": [1000, 100 + number % 800], "accuracy": [0.9, 0.9], "error": 0.01}
        return {"files": [str(f) for f in files], "comparison": comparison, "refused": "", "digest": digest}

    def time(self, row: dict[str, Any], files: Sequence[Path]) -> dict[str, Any]:
        return {"comparison": {**row["comparison"], "latency_s": (1e-3, 1e-3), "slowdown": 1.0}}

    def close(self) -> None:
        pass


def run(target: Path, trials: int = TRIALS, **options: Any) -> Tuned:
    """Search with made-up trials."""
    search.ENGINES["local"] = Fake
    settings = Settings(limits=Limits(drop=0.1), data=None)
    return search.tune("no-model.h5", target, Tuning(settings, trials=trials, **options))


def main() -> None:
    """See the module."""
    count, real, seen = int(sys.argv[2]), os.replace, [0]

    def replace(source: Any, target: Any) -> None:
        seen[0] += 1
        if seen[0] == count:
            os._exit(9)
        real(source, target)

    os.replace = replace  # type: ignore[assignment]
    found = run(Path(sys.argv[1]))
    print(json.dumps([r.digest for r in found.rows]))


if __name__ == "__main__":
    main()
